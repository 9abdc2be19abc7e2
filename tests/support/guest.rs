//! A machine of its own: Debian's cloud kernel under QEMU, for what this machine is not set up for, such as control
//! groups of version 2 alone, or cores that are unplugged. It is emulated, so it wants no right and is slow.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::agent::clean;
use super::load::Killed;
use super::page::Page;
use super::rootfs::RootFs;
use super::wait::wait_until;

/// What every guest does first. `say` begins a section of what the test gets back.
const PRELUDE: &str = r#"#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts; mount -t devpts devpts /dev/pts
ip link set lo up
say() { printf '\n== %s\n' "$1"; }
scrape() { say "$1"; wget -q -O - http://127.0.0.1:${2:-9871}/metrics; }
unified() { mount -t cgroup2 cgroup2 /sys/fs/cgroup; echo "+cpu +cpuset +memory +io +pids" > /sys/fs/cgroup/cgroup.subtree_control; }
# A cgroup, with what is written into its files: group NAME FILE=TEXT...
group() { g=/sys/fs/cgroup/$1; shift; mkdir $g; for set in "$@"; do echo "${set#*=}" > $g/${set%%=*}; done; }
# A command in a cgroup, in the background: into NAME COMMAND...
into() { g=$1; shift; (echo 0 > /sys/fs/cgroup/$g/cgroup.procs; exec "$@") & }
# The time since boot in hundredths of a second.
now() { read up rest < /proc/uptime; now=${up%.*}${up#*.}; }
# Waits for a tick of the agent at this port. All that tick as often tick then: ticks follow the wall clock. With a command
# beside it: what that said last while the tick was not yet there.
on_tick() { tick() { wget -q -O - http://127.0.0.1:$1/metrics | grep ^hostgauge_process_cpu_seconds_total; }
  port=$1; shift; earlier=$("$@"); before=$(tick $port); next=$("$@")
  while [ "$(tick $port)" = "$before" ]; do earlier=$next; usleep 10000; next=$("$@"); done; now; start=$now; }
# As long after that as given, in hundredths of a second.
at() { now; left=$((start + $1 - now)); [ $left -gt 0 ] && usleep ${left}0000; true; }
# Waits for a file's or a page's words; emulation is slow.
until_page() { i=0; until wget -q -O - http://127.0.0.1:${2:-9871}/metrics 2>/dev/null | grep -q "$1"; do
  i=$((i+1)); [ $i -gt 600 ] && { say gave-up; echo "$1"; return 1; }; sleep 0.1; done; }
"#;
const EPILOGUE: &str = "\nsay end\npoweroff -f\n";

/// A machine to be.
pub(crate) struct Guest {
    pub root: RootFs,
    cores: u32,
}

/// What a guest said, by section.
#[derive(Debug)]
pub(crate) struct Said(BTreeMap<String, String>);

impl Said {
    /// The text of a section.
    pub(crate) fn section(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("the guest never said {name}: {self:#?}"))
    }

    /// The page that a section is.
    pub(crate) fn page(&self, name: &str) -> Page {
        Page::parse(self.section(name).trim().to_owned())
    }

    /// The number that stands in a section.
    pub(crate) fn number(&self, name: &str) -> f64 {
        let text = self.section(name).trim();
        text.parse().unwrap_or_else(|_| panic!("{name}: expected a number, got {text:?}"))
    }
}

impl Guest {
    /// A machine with so many cores, and nothing in it but its root file system.
    pub(crate) fn new(cores: u32) -> Self {
        Self { root: RootFs::new(), cores }
    }

    /// Starts it, runs a shell script in it, and waits until it has switched itself off.
    pub(crate) fn run(self, script: &str, patience: Duration) -> Said {
        let kernel = super::file("../target/guest/vmlinuz");
        assert!(kernel.exists(), "{} is missing: tests/run fetches it", kernel.display());
        let init = self.root.path("init");
        fs::write(&init, format!("{PRELUDE}{script}{EPILOGUE}")).expect("a file");
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).expect("a file's mode");
        let outside = tempfile::tempdir().expect("a folder");
        let image = outside.path().join("initramfs");
        let packed = Command::new("sh")
            .args(["-c", "find . | cpio --quiet -o -H newc > \"$1\"", "sh"])
            .arg(&image)
            .current_dir(self.root.path("/"))
            .status();
        assert!(packed.expect("sh").success(), "cpio (Debian package cpio) packs the machine");

        // Something to read, so that there is page cache and I/O.
        let disk = outside.path().join("disk");
        fs::File::create(&disk).and_then(|file| file.set_len(64 << 20)).expect("a file");

        let log = outside.path().join("console");
        let mut machine = clean(
            "qemu-system-x86_64",
            &["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot", "-net", "none"],
        );
        machine.args(["-smp", &self.cores.to_string(), "-append", "console=ttyS0 quiet panic=-1 psi=1 loglevel=1"]);
        machine.args(["-device", "nvme,drive=disk,serial=1", "-drive"]);
        machine.arg(format!("if=none,id=disk,format=raw,file={}", disk.display()));
        machine.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
        let console = fs::File::create(&log).expect("a file");
        let machine = machine.stdout(console).stderr(Stdio::inherit()).spawn();
        let mut machine = Killed(machine.expect("qemu-system-x86_64 (Debian package qemu-system-x86) starts"));
        let console = || String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).replace('\r', "");
        wait_until(patience, "the guest switches itself off", || {
            machine.0.try_wait().expect("a child").ok_or_else(console)
        });
        let said = Said(sections(&console()));
        said.section("end");
        said
    }
}

fn sections(console: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut name = "boot".to_owned();
    for line in console.lines() {
        match line.strip_prefix("== ") {
            Some(next) => next.clone_into(&mut name),
            None => {
                let text: &mut String = sections.entry(name.clone()).or_default();
                text.push_str(line);
                text.push('\n');
            }
        }
        sections.entry(name.clone()).or_default();
    }
    sections
}
