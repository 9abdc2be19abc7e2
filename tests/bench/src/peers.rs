//! Who is measured, and how each is started. Peers are cut down to what hostgauge does by default: CPU, memory, disk.

use crate::{
    group::Group,
    process::{self, Scratch},
};
use std::{
    env,
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Floor,
    Hostgauge,
    NodeExporter,
    Collectd,
    Psutil,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Hostgauge => "hostgauge",
            Self::NodeExporter => "node_exporter (trimmed)",
            Self::Collectd => "collectd",
            Self::Psutil => "psutil and prometheus_client",
        }
    }
}

pub struct Exporter {
    pub kind: Kind,
    pub program: PathBuf,
    pub version: String,
}

/// The exporter that people write in a quarter of an hour.
const PSUTIL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/psutil_exporter.py");

impl Exporter {
    /// In the order of the tables: each exporter, or the line that says why it is not measured.
    pub fn candidates(hostgauge: &Path, python: Option<&Path>, scratch: &Scratch) -> Vec<Result<Self, String>> {
        let ours = hostgauge.canonicalize().map_err(|e| {
            format!("hostgauge: {}: {e}; build it with `cargo build --release -p hostgauge`", hostgauge.display())
        });
        [
            (Kind::Floor, floor()),
            (Kind::Hostgauge, ours),
            (Kind::NodeExporter, installed(&["prometheus-node-exporter", "node_exporter"])),
            (Kind::Collectd, installed(&["collectd"])),
            (Kind::Psutil, python.map(Path::to_owned).ok_or_else(|| "psutil: no --python with it".into())),
        ]
        .into_iter()
        .map(|(kind, program)| {
            let program = program?;
            let version = match kind {
                Kind::Floor => env!("CARGO_PKG_VERSION").into(),
                Kind::Collectd => version(process::command(&program).arg("-h"), scratch),
                Kind::Psutil => version(process::command(&program).args(["-m", "pip", "show", "psutil"]), scratch),
                _ => version(process::command(&program).arg("--version"), scratch),
            };
            Ok(Self { kind, program, version })
        })
        .collect()
    }

    pub fn command(&self, address: SocketAddr, interval: Duration, scratch: &Scratch) -> Result<Command, String> {
        let mut command = process::command(&self.program);
        let ms = interval.as_millis();
        match self.kind {
            Kind::Floor => command.args(["--interval-ms", &ms.to_string(), "--listen", &address.to_string()]),
            Kind::Hostgauge => command
                .args(["--interval", &format!("{ms}ms"), "--disk-path", "/"])
                .args(["--prometheus-listen", &address.to_string()]),
            Kind::NodeExporter => command
                .args(["--web.disable-exporter-metrics", "--collector.disable-defaults"])
                .args(["--collector.cpu", "--collector.meminfo", "--collector.filesystem"])
                .arg(format!("--web.listen-address={address}")),
            Kind::Psutil => command.arg(PSUTIL).args([address.ip().to_string(), address.port().to_string()]),
            Kind::Collectd => {
                let file = scratch.path().join("collectd.conf");
                fs::write(&file, collectd_conf(address, interval, scratch.path()))
                    .map_err(|e| format!("{}: {e}", file.display()))?;
                command.args(["-f", "-C"]).arg(file)
            }
        };
        Ok(command)
    }

    /// The same for a control group that it is in: ours by its scope, the floor by the files that it reads as well.
    pub fn command_of_group(
        &self,
        address: SocketAddr,
        group: &Group,
        scope: &str,
        files: &[PathBuf],
        scratch: &Scratch,
    ) -> Result<Command, String> {
        let mut command = self.command(address, Duration::from_secs(1), scratch)?;
        match self.kind {
            Kind::Hostgauge => command.args(["--scope", scope]),
            _ => command.args(files.iter().flat_map(|file| [OsStr::new("--file"), file.as_os_str()])),
        };
        Ok(group.inside(&command))
    }

    /// Whether the one flag for the interval reaches 10 Hz; node_exporter has none, collectd is not made for it.
    pub fn runs_at_10_hz(&self) -> bool {
        matches!(self.kind, Kind::Floor | Kind::Hostgauge)
    }

    /// What the page must hold before its size counts: hostgauge's longest window comes last.
    pub fn last_series(&self) -> Option<&'static str> {
        (self.kind == Kind::Hostgauge).then_some("window=\"1m\"")
    }
}

/// The floor probe beside this program. `cargo run` builds only the program it runs, so cargo is asked for the probe
/// too.
fn floor() -> Result<PathBuf, String> {
    let driver = env::current_exe().map_err(|e| format!("floor: {e}"))?;
    let floor = driver.with_file_name("floor");
    let folder = driver.parent().unwrap_or(Path::new("/"));
    if let (Some(cargo), Some(target)) = (env::var_os("CARGO"), folder.parent()) {
        let mut command = Command::new(cargo);
        command
            .args(["build", "--quiet", "-p", env!("CARGO_PKG_NAME"), "--bin", "floor", "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if folder.ends_with("release") {
            command.arg("--release");
        }
        let mut child = command.spawn().map_err(|e| format!("floor: cargo: {e}"))?;
        let status = process::wait(&mut child, Duration::from_secs(300)).map_err(|e| format!("floor: cargo: {e}"))?;
        if !status.success() {
            return Err(format!("floor: cargo build: {status}"));
        }
    }
    match floor.exists() {
        true => Ok(floor),
        false => Err("floor: not built; build it with `cargo build --release -p hostgauge-bench`".into()),
    }
}

/// The first of the names that is on the path; daemons live in sbin, which an ordinary user's path may lack.
pub fn installed(names: &[&str]) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
        .ok_or_else(|| format!("{}: not installed", names[0]))
}

fn version(command: &mut Command, scratch: &Scratch) -> String {
    process::output(command, scratch, Duration::from_secs(5))
        .ok()
        .and_then(|text| version_in(&text))
        .unwrap_or_else(|| "unknown".into())
}

/// The first word that looks like 1.2 or v1.2.
fn version_in(text: &str) -> Option<String> {
    text.split_whitespace()
        .map(|word| word.trim_matches(['v', '(', ')', ',']))
        .find(|word| {
            word.split_once('.')
                .is_some_and(|(major, _)| !major.is_empty() && major.bytes().all(|b| b.is_ascii_digit()))
        })
        .map(String::from)
}

fn collectd_conf(address: SocketAddr, interval: Duration, folder: &Path) -> String {
    let (folder, seconds) = (folder.display(), interval.as_secs_f64());
    let (ip, port) = (address.ip(), address.port());
    format!(
        r#"Hostname "bench"
FQDNLookup false
BaseDir "{folder}"
PIDFile "{folder}/collectd.pid"
Interval {seconds}
LoadPlugin cpu
LoadPlugin memory
LoadPlugin df
LoadPlugin write_prometheus
<Plugin cpu>
  ReportByCpu true
  ReportByState false
  ValuesPercentage true
</Plugin>
<Plugin memory>
  ValuesPercentage true
</Plugin>
<Plugin df>
  MountPoint "/"
  ValuesPercentage true
</Plugin>
<Plugin write_prometheus>
  Host "{ip}"
  Port "{port}"
</Plugin>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, expected) in [
            ("hostgauge 0.1.0\n", Some("0.1.0")),
            ("node_exporter, version 1.5.0 (branch: debian/sid)", Some("1.5.0")),
            ("Usage: ...\n\ncollectd 5.12.0.git, http://collectd.org/", Some("5.12.0.git")),
            ("tool (v2.1) e.g. this", Some("2.1")),
            ("no idea...", None),
        ] {
            assert_eq!(version_in(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        assert!(installed(&["sh"]).is_ok());
        assert_eq!(installed(&["no-such-exporter"]).unwrap_err(), "no-such-exporter: not installed");
    }
}
