//! What the machine shows of its GPUs without their driver's library: the bus, the kernel module, the device nodes,
//! and what a container runtime was told.
//!
//! Sources: sysfs (`Documentation/ABI/testing/sysfs-bus-pci`), the driver's README ("The /proc interface", "Device
//! files"), NVIDIA Container Toolkit ("Environment variables").

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::sample::Roots;

/// NVIDIA's id on the PCI bus.
const VENDOR: &str = "0x10de";
/// Display controllers: GPUs, and not their audio functions or the switches between them.
const DISPLAY: &str = "0x03";
/// More device nodes than any machine has.
const MOST_NODES: usize = 256;
/// Where drivers and their containers put the library without the loader knowing: WSL, Google's Container-Optimized
/// OS, NVIDIA's GPU operator.
const ELSEWHERE: [&str; 4] = [
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/home/kubernetes/bin/nvidia/lib64/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// For each GPU on the bus, the kernel module that holds it.
    pub bus: Vec<Option<String>>,
    /// `None` where NVIDIA's module is not loaded; its version where it tells one.
    pub module: Option<Option<String>>,
    /// The folder of device nodes.
    pub dev: PathBuf,
    /// `/dev/nvidiactl`, through which everything goes.
    pub control: Node,
    /// `/dev/nvidia0` and so on, those that are there.
    pub devices: Vec<(PathBuf, Node)>,
    /// Windows hands its GPUs to Linux by this node, and by no other.
    pub is_wsl: bool,
    pub container: Container,
    /// A library where the loader does not look.
    pub elsewhere: Option<PathBuf>,
}

/// A device node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Node {
    #[default]
    Missing,
    /// It opens, or fails for another reason than rights.
    Usable,
    /// The system's words: the file's mode (EACCES), or the device cgroup (EPERM).
    Denied(String),
}

/// What is known of a container around us. These are hints: images set such variables for themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Container {
    pub is: bool,
    /// NVIDIA_VISIBLE_DEVICES.
    pub visible: Option<String>,
    /// NVIDIA_DRIVER_CAPABILITIES.
    pub capabilities: Option<String>,
}

impl Evidence {
    /// Looks below `roots`. Opens device nodes, which can hang as the driver can.
    pub(super) fn gather(roots: &Roots, variable: impl Fn(&str) -> Option<String>) -> Self {
        let there = |path: &str| roots.on_host(Path::new(path)).exists();
        let dev = roots.on_host(Path::new("/dev"));
        let (visible, capabilities) = (variable("NVIDIA_VISIBLE_DEVICES"), variable("NVIDIA_DRIVER_CAPABILITIES"));
        let marks = ["KUBERNETES_SERVICE_HOST", "ECS_CONTAINER_METADATA_URI_V4", "container"];
        let is = visible.is_some()
            || capabilities.is_some()
            || marks.iter().any(|name| variable(name).is_some())
            || there("/.dockerenv")
            || there("/run/.containerenv");
        Self {
            bus: bus(&roots.sysfs.join("bus/pci/devices")),
            module: module(&roots.procfs.join("driver/nvidia")),
            control: node(&dev.join("nvidiactl")),
            devices: devices(&dev),
            is_wsl: dev.join("dxg").exists(),
            dev,
            container: Container { is, visible, capabilities },
            elsewhere: ELSEWHERE.map(|path| roots.on_host(Path::new(path))).into_iter().find(|path| path.exists()),
        }
    }

    /// Whether nothing says that this machine has a GPU of NVIDIA's.
    pub(super) fn is_empty(&self) -> bool {
        self.bus.is_empty()
            && self.module.is_none()
            && self.control == Node::Missing
            && self.devices.is_empty()
            && !self.is_wsl
    }
}

fn bus(devices: &Path) -> Vec<Option<String>> {
    let Ok(entries) = fs::read_dir(devices) else { return Vec::new() };
    let is = |path: &Path, name: &str, start: &str| {
        fs::read_to_string(path.join(name)).is_ok_and(|text| text.trim_start().starts_with(start))
    };
    let gpus = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let gpus = gpus.filter(|path| is(path, "vendor", VENDOR) && is(path, "class", DISPLAY));
    let holder = |path: PathBuf| {
        let link = fs::read_link(path.join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    };
    gpus.map(holder).collect()
}

fn module(folder: &Path) -> Option<Option<String>> {
    let text = fs::read_to_string(folder.join("version"));
    match text {
        Ok(text) => Some(version_in(&text)),
        Err(_) => folder.is_dir().then_some(None),
    }
}

/// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 ...", or "... Open Kernel Module for
/// x86_64  570.86.15  Release Build".
fn version_in(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        word.contains('.') && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    text.lines().next()?.split_whitespace().find(is_version).map(str::to_owned)
}

fn devices(dev: &Path) -> Vec<(PathBuf, Node)> {
    let Ok(entries) = fs::read_dir(dev) else { return Vec::new() };
    let is_gpu = |name: &str| {
        name.strip_prefix("nvidia").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let paths = entries.filter_map(Result::ok).filter(|entry| entry.file_name().to_str().is_some_and(is_gpu));
    let mut paths: Vec<PathBuf> = paths.map(|entry| entry.path()).take(MOST_NODES).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), node(&path))).collect()
}

/// As the driver's library opens it.
fn node(path: &Path) -> Node {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Node::Missing,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Node::Denied(error.to_string()),
        _ => Node::Usable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_kernel_modules() {
        for (text, version) in [
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC 12.2",
                "535.129.03",
            ),
            ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs@1)", "570.86.15"),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version));
        }
        for text in ["", "NVRM version: ?", "1. .2 3..4"] {
            assert_eq!(version_in(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_audio_function_of_nvidia_is_no_gpu() {
        let folder = tempfile::tempdir().expect("a folder");
        for (address, vendor, class) in [
            ("0000:01:00.0", "0x10de\n", "0x030200\n"),
            ("0000:01:00.1", "0x10de\n", "0x040300\n"),
            ("0000:02:00.0", "0x8086\n", "0x030000\n"),
        ] {
            let device = folder.path().join("bus/pci/devices").join(address);
            fs::create_dir_all(&device).expect("made");
            fs::write(device.join("vendor"), vendor).expect("written");
            fs::write(device.join("class"), class).expect("written");
        }
        assert_eq!(bus(&folder.path().join("bus/pci/devices")), [None]);
    }
}
