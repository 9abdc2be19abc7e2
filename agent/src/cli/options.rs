//! The options: one table, from which the flag, the environment variable and the key of the file come.
//!
//! To add an option: a row here, a field in [`Values`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hostgauge_collectors::Roots;

use crate::builder::INTERVALS;
use crate::identity;

/// What the options amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Values {
    pub host: Option<String>,
    pub interval: Duration,
    pub disk_paths: Vec<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub roots: Roots,
    pub log_format: LogFormat,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            host: None,
            interval: Duration::ZERO,
            disk_paths: Vec::new(),
            listen: None,
            roots: Roots::default(),
            log_format: LogFormat::Text,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// One option.
#[derive(Debug)]
pub(super) struct Opt {
    /// The flag without its dashes, and the key of the file.
    pub name: &'static str,
    pub value_name: &'static str,
    /// Empty: none.
    pub default: &'static str,
    /// Whether it takes several values.
    pub many: bool,
    pub help: &'static str,
    /// What a good value is, for the message about a bad one.
    pub expected: &'static str,
    /// Takes a value over; `None` if it is not a good one.
    pub set: fn(&mut Values, &str) -> Option<()>,
}

impl Opt {
    /// The environment variable.
    pub(super) fn variable(&self) -> String {
        format!("HOSTGAUGE_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

pub(super) static OPTIONS: &[Opt] = &[
    Opt {
        name: "interval",
        value_name: "DURATION",
        default: "1s",
        many: false,
        help: "Time between samples, 100ms to 60s",
        expected: "a duration from 100ms to 60s, such as 1s",
        set: |values, text| {
            values.interval = humantime::parse_duration(text).ok().filter(|interval| INTERVALS.contains(interval))?;
            Some(())
        },
    },
    Opt {
        name: "disk-path",
        value_name: "PATH",
        default: "/",
        many: true,
        help: "Measure the file system of this path; give it several times for several",
        expected: "an absolute path",
        set: |values, text| {
            let path = PathBuf::from(text);
            let fits = path.is_absolute() && !text.chars().any(char::is_control);
            if !values.disk_paths.contains(&path) {
                values.disk_paths.push(path);
            }
            fits.then_some(())
        },
    },
    Opt {
        name: "prometheus-listen",
        value_name: "ADDRESS",
        default: "127.0.0.1:9871",
        many: false,
        help: "Serve the page here, or 'off'",
        expected: "an address such as 127.0.0.1:9871, [::1]:9871 or :9871 (every IPv4 interface), or off",
        set: |values, text| {
            values.listen = match text {
                "off" => None,
                _ => Some(address(text)?),
            };
            Some(())
        },
    },
    Opt {
        name: "host",
        value_name: "HOST",
        default: "",
        many: false,
        help: "The label Host of every series [default: the host name]",
        expected: "up to 1024 bytes of text without control characters",
        set: |values, text| {
            values.host = identity::is_valid(text).then(|| text.to_owned());
            values.host.as_ref().map(|_| ())
        },
    },
    Opt {
        name: "procfs",
        value_name: "FOLDER",
        default: "/proc",
        many: false,
        help: "Where procfs is mounted",
        expected: "a folder",
        set: |values, text| folder(&mut values.roots.procfs, text),
    },
    Opt {
        name: "sysfs",
        value_name: "FOLDER",
        default: "/sys",
        many: false,
        help: "Where sysfs is mounted",
        expected: "a folder",
        set: |values, text| folder(&mut values.roots.sysfs, text),
    },
    Opt {
        name: "rootfs",
        value_name: "FOLDER",
        default: "/",
        many: false,
        help: "Where the host's root is mounted; disk paths are looked up below it",
        expected: "a folder",
        set: |values, text| folder(&mut values.roots.rootfs, text),
    },
    Opt {
        name: "log-format",
        value_name: "FORMAT",
        default: "text",
        many: false,
        help: "How to log: text or json (RUST_LOG says how much)",
        expected: "text or json",
        set: |values, text| {
            values.log_format = match text {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return None,
            };
            Some(())
        },
    },
];

fn folder(root: &mut PathBuf, text: &str) -> Option<()> {
    *root = PathBuf::from(text);
    // Other systems than Linux have no procfs or sysfs, and need none.
    (root.is_dir() || cfg!(not(target_os = "linux"))).then_some(())
}

/// An address to listen on. Names are not looked up, but for the one that means this machine.
fn address(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix(':') {
        return Some((Ipv4Addr::UNSPECIFIED, port.parse().ok()?).into());
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into());
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, text: &str) -> Option<Values> {
        let option = OPTIONS.iter().find(|option| option.name == name).expect("an option");
        let mut values = Values::default();
        (option.set)(&mut values, text).map(|()| values)
    }

    #[test]
    fn every_default_is_a_good_value() {
        for option in OPTIONS.iter().filter(|option| !option.default.is_empty()) {
            assert!(set(option.name, option.default).is_some(), "{} {}", option.name, option.default);
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for (name, bad) in [
            ("interval", &["0", "0s", "1ms", "99ms", "61s", "-1s", "1", "fast", ""][..]),
            ("disk-path", &["", "data", "/a\nb"]),
            ("prometheus-listen", &["", "9871", "example.org:80", "127.0.0.1", "127.0.0.1:99999", "Off"]),
            ("host", &["", " ", "a\nb"]),
            ("procfs", &["/no/such/folder", "/etc/passwd"]),
            ("log-format", &["xml", ""]),
        ] {
            for text in bad {
                assert_eq!(set(name, text), None, "{name} {text:?}");
            }
        }
    }

    #[test]
    fn good_values_are_taken() {
        for (text, millis) in [("100ms", 100), ("1s", 1000), ("1m", 60_000), ("60s", 60_000)] {
            assert_eq!(set("interval", text).expect(text).interval, Duration::from_millis(millis));
        }
        for (text, address) in [
            ("localhost:80", "127.0.0.1:80"),
            (":9871", "0.0.0.0:9871"),
            ("[::1]:0", "[::1]:0"),
            ("10.0.0.1:9871", "10.0.0.1:9871"),
        ] {
            assert_eq!(set("prometheus-listen", text).expect(text).listen, address.parse().ok());
        }
        assert_eq!(set("prometheus-listen", "off").expect("off").listen, None);
    }
}
