//! Why a GPU, or all of them, cannot be measured, and what to do about it: one cause each time.

use std::fmt;
use std::path::PathBuf;

use super::driver::Code;
use super::evidence::{Container, Evidence, Node};

/// Why there are no figures of GPUs, or of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuCause {
    /// Nothing says that this machine has a GPU of NVIDIA's. Nothing is wrong with it.
    NoGpu,
    /// Neither library nor kernel module: no driver is installed. Which module holds the GPU.
    NoDriver(Option<String>),
    /// The library is there, the kernel module is not loaded. Which module holds the GPU.
    NoModule(Option<String>),
    /// The library is not there, although the kernel module is. Where one was found that the loader does not see.
    NoLibrary(Option<PathBuf>),
    /// The library that was named is not there.
    NoSuchLibrary(PathBuf),
    /// The container runtime brought no driver into the container. What NVIDIA_VISIBLE_DEVICES says.
    NothingInjected(Option<String>),
    /// The container has the driver, but not the capability that the library belongs to.
    NoUtility(String),
    /// This program is linked against musl, which cannot load the library.
    Musl,
    /// It is there and cannot be loaded; the loader's words.
    Unloadable(String),
    /// It was loaded, and is no NVML.
    NotNvml,
    /// A library for linking programs without a driver, or one that is not of this driver.
    Stub(Option<PathBuf>),
    /// A device node is not there.
    NodeMissing(PathBuf),
    /// A device node cannot be opened; the system's words.
    NodeDenied(PathBuf, String),
    /// Library and kernel module are of different versions.
    Mismatch {
        /// The kernel module's.
        module: Option<String>,
        /// The library's.
        library: Option<String>,
    },
    /// The driver refuses this process.
    NoPermission,
    /// The driver works, and shows this process no GPU. What NVIDIA_VISIBLE_DEVICES says.
    NoneVisible(Option<String>),
    /// Only a MIG instance of the GPU belongs to us.
    MigSlice,
    /// The GPU is cut up by MIG, and has no utilization of its own.
    Mig,
    /// The GPU fell off the bus.
    Lost,
    /// The GPU wants a reset.
    ResetRequired,
    /// Calls do not return.
    Silent,
    /// Another refusal, in the words of the driver.
    Refused(String),
}

impl GpuCause {
    /// A word for it, which stays the same.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoGpu => "no_gpu",
            Self::NoDriver(_) => "no_driver",
            Self::NoModule(_) => "module_not_loaded",
            Self::NoLibrary(_) | Self::NoSuchLibrary(_) => "no_library",
            Self::NothingInjected(_) => "nothing_injected",
            Self::NoUtility(_) => "no_utility_capability",
            Self::Musl => "musl",
            Self::Unloadable(_) => "library_not_loadable",
            Self::NotNvml => "not_nvml",
            Self::Stub(_) => "stub_library",
            Self::NodeMissing(_) => "device_node_missing",
            Self::NodeDenied(..) => "device_node_denied",
            Self::Mismatch { .. } => "driver_mismatch",
            Self::NoPermission => "no_permission",
            Self::NoneVisible(_) => "no_gpu_visible",
            Self::MigSlice => "mig_slice_only",
            Self::Mig => "mig",
            Self::Lost => "gpu_lost",
            Self::ResetRequired => "reset_required",
            Self::Silent => "driver_silent",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether it is no fault unless somebody asked for GPUs: a machine without them, or a process that was given none.
    pub fn is_quiet(&self) -> bool {
        matches!(
            self,
            Self::NoGpu
                | Self::NoDriver(_)
                | Self::NoModule(_)
                | Self::NoLibrary(_)
                | Self::NothingInjected(_)
                | Self::NoUtility(_)
                | Self::Musl
                | Self::NoneVisible(_)
                | Self::Stub(_)
                | Self::Mig
                | Self::MigSlice
        )
    }

    /// What to do about it, in a line; `None` where nothing is to be done.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::NoGpu => return None,
            Self::NoDriver(holder) | Self::NoModule(holder) => match holder.as_deref() {
                Some("vfio-pci") => "it is given to a virtual machine (vfio-pci): measure it there".into(),
                Some("nouveau") => "unload nouveau and load NVIDIA's kernel module (modprobe nvidia)".into(),
                _ if matches!(self, Self::NoDriver(_)) => "install NVIDIA's driver on the host".into(),
                _ => "load it on the host (modprobe nvidia); dmesg says why that fails".into(),
            },
            Self::NoLibrary(Some(path)) => format!("give --nvml-library {}", path.display()),
            Self::NoLibrary(None) => {
                "install the driver's user part (such as libnvidia-compute), or give --nvml-library".into()
            }
            Self::NoSuchLibrary(_) => "give the path of the driver's libnvidia-ml.so.1, or leave it out".into(),
            Self::NothingInjected(None) => {
                "start the container with its GPUs: --gpus all, or NVIDIA's runtime and NVIDIA_VISIBLE_DEVICES=all; in \
                 Kubernetes, run inside the container that has them"
                    .into()
            }
            Self::NothingInjected(Some(_)) => {
                "start the container with NVIDIA's runtime (--runtime nvidia, or --gpus all): the variable alone does \
                 nothing"
                    .into()
            }
            Self::NoUtility(_) => "add utility to NVIDIA_DRIVER_CAPABILITIES, as in compute,utility".into(),
            Self::Musl => "use the build for glibc".into(),
            Self::Unloadable(_) => "give the library of this machine's architecture and driver".into(),
            Self::NotNvml => "name libnvidia-ml.so.1, not another library".into(),
            Self::Stub(_) => {
                "take the folder of stubs out of LD_LIBRARY_PATH, or give the driver's own library with --nvml-library"
                    .into()
            }
            Self::NodeMissing(path) => format!(
                "run nvidia-modprobe -u -c=0 on the host, or give the container the device ({})",
                path.display()
            ),
            Self::NodeDenied(..) => {
                "give this user read and write on /dev/nvidia*; in a container, give it the devices anew (a systemd \
                 daemon-reload takes them away)"
                    .into()
            }
            Self::Mismatch { .. } => {
                "after an upgrade, load the new kernel module (reboot); in a container, start it anew".into()
            }
            Self::NoPermission => "run as a user who may use the GPUs, or ask for them in the container".into(),
            Self::NoneVisible(Some(_)) => "set NVIDIA_VISIBLE_DEVICES to all or to the GPUs' UUIDs".into(),
            Self::NoneVisible(None) => "give this container or cgroup the GPUs".into(),
            Self::MigSlice => "run where the whole GPU is visible, or rely on the figures of the instance".into(),
            Self::Mig => "its utilization is that of its instances".into(),
            Self::Lost => "see dmesg for Xid 79; drain the machine, and reboot or replace it".into(),
            Self::ResetRequired => "stop what uses it and reset it: nvidia-smi --gpu-reset".into(),
            Self::Silent => "see dmesg for Xid and hung tasks; a reset of the GPU or a reboot ends it".into(),
            Self::Refused(_) => "see whether nvidia-smi works, and dmesg for NVRM and Xid".into(),
        };
        Some(text)
    }
}

impl fmt::Display for GpuCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "an unknown version".to_owned();
        match self {
            Self::NoGpu => f.write_str("no GPU of NVIDIA's in this machine"),
            Self::NoDriver(holder) => {
                write!(f, "NVIDIA's driver is not installed")?;
                holder.iter().try_for_each(|holder| write!(f, "; {holder} holds the GPU"))
            }
            Self::NoModule(holder) => {
                write!(f, "NVIDIA's kernel module is not loaded")?;
                holder.iter().try_for_each(|holder| write!(f, "; {holder} holds the GPU"))
            }
            Self::NoLibrary(_) => f.write_str("NVIDIA's management library is not where the loader looks"),
            Self::NoSuchLibrary(path) => write!(f, "there is no library {}", path.display()),
            Self::NothingInjected(visible) => {
                write!(f, "the container runtime brought no driver into this container: NVIDIA_VISIBLE_DEVICES ")?;
                match visible {
                    Some(value) => write!(f, "is {value:?}"),
                    None => f.write_str("is not set"),
                }
            }
            Self::NoUtility(capabilities) => {
                write!(f, "the container lacks the capability utility: NVIDIA_DRIVER_CAPABILITIES is {capabilities:?}")
            }
            Self::Musl => f.write_str("this build is for musl, and cannot load NVIDIA's library"),
            Self::Unloadable(words) => write!(f, "the library cannot be loaded: {words}"),
            Self::NotNvml => f.write_str("the library is not NVIDIA's management library"),
            Self::Stub(Some(path)) => write!(f, "{} is a stub, without a driver behind it", path.display()),
            Self::Stub(None) => f.write_str("the library does not belong to the driver that is loaded: a stub?"),
            Self::NodeMissing(path) => write!(f, "the device node {} is missing", path.display()),
            Self::NodeDenied(path, words) => write!(f, "{} cannot be opened: {words}", path.display()),
            Self::Mismatch { module, library } => write!(
                f,
                "the kernel module is {}, the library {}",
                module.clone().unwrap_or_else(unknown),
                library.clone().unwrap_or_else(unknown)
            ),
            Self::NoPermission => f.write_str("the driver refuses this process: no permission"),
            Self::NoneVisible(Some(value)) => {
                write!(f, "the driver shows no GPU to this process: NVIDIA_VISIBLE_DEVICES is {value:?}")
            }
            Self::NoneVisible(None) => f.write_str("the driver shows no GPU to this process"),
            Self::MigSlice => f.write_str("only a MIG instance of it belongs to this process"),
            Self::Mig => f.write_str("it is cut up by MIG, and has no utilization of its own"),
            Self::Lost => f.write_str("it fell off the bus"),
            Self::ResetRequired => f.write_str("it wants a reset"),
            Self::Silent => f.write_str("the driver does not answer"),
            Self::Refused(words) => write!(f, "the driver refuses: {words}"),
        }
    }
}

/// The library, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Library {
    /// Somebody named its path.
    pub named: Option<PathBuf>,
    /// The file that was loaded.
    pub file: Option<PathBuf>,
    pub version: Option<String>,
}

/// How asking for GPUs failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It cannot be loaded; the loader's words.
    Library(String),
    /// It was loaded and refuses.
    Refused(Code),
    /// It shows no GPU.
    None,
}

/// The one cause of a failure. What comes first in here is what the others follow from.
pub(super) fn cause_of(failure: &Failure, library: &Library, evidence: &Evidence) -> GpuCause {
    match failure {
        Failure::Library(words) => cause_of_loading(words, library, evidence),
        Failure::Refused(Code(18)) => {
            GpuCause::Mismatch { module: evidence.module.clone().flatten(), library: library.version.clone() }
        }
        Failure::Refused(Code(13)) => GpuCause::NotNvml,
        Failure::Refused(code) if !code.says_no_gpu() => nodes(evidence).unwrap_or_else(|| cause_of_code(*code)),
        _ if evidence.is_empty() => GpuCause::NoGpu,
        Failure::Refused(Code::DRIVER_NOT_LOADED) => {
            let stub = library.file.clone().filter(|file| is_stub(file));
            match (stub, &evidence.module) {
                (Some(stub), _) => GpuCause::Stub(Some(stub)),
                (None, None) => GpuCause::NoModule(holder(evidence)),
                (None, Some(_)) => nodes(evidence).unwrap_or(GpuCause::Stub(None)),
            }
        }
        _ => nodes(evidence).unwrap_or_else(|| GpuCause::NoneVisible(evidence.container.visible.clone())),
    }
}

/// One GPU's refusal.
pub(super) fn cause_of_gpu(code: Code, evidence: &Evidence) -> GpuCause {
    match code {
        Code(4 | 17 | 999) => denied(evidence).unwrap_or_else(|| cause_of_code(code)),
        code => cause_of_code(code),
    }
}

fn cause_of_code(code: Code) -> GpuCause {
    match code {
        Code(4) => GpuCause::NoPermission,
        Code(10) => GpuCause::Silent,
        Code(15) => GpuCause::Lost,
        Code(16) => GpuCause::ResetRequired,
        code => GpuCause::Refused(code.to_string()),
    }
}

fn cause_of_loading(words: &str, library: &Library, evidence: &Evidence) -> GpuCause {
    let is_missing = words.contains("No such file");
    if words.contains("Dynamic loading not supported") || cfg!(target_env = "musl") && !is_missing {
        return if evidence.is_empty() && library.named.is_none() { GpuCause::NoGpu } else { GpuCause::Musl };
    }
    if let Some(named) = &library.named {
        let is_there = named.is_relative() || named.exists();
        return if is_there { GpuCause::Unloadable(words.to_owned()) } else { GpuCause::NoSuchLibrary(named.clone()) };
    }
    if evidence.is_empty() {
        return GpuCause::NoGpu;
    }
    if !is_missing {
        return GpuCause::Unloadable(words.to_owned());
    }
    if evidence.module.is_none() && !evidence.is_wsl {
        return GpuCause::NoDriver(holder(evidence));
    }
    if let Some(elsewhere) = &evidence.elsewhere {
        return GpuCause::NoLibrary(Some(elsewhere.clone()));
    }
    let Container { is, visible, capabilities } = &evidence.container;
    let asked = visible.clone().filter(|value| !value.is_empty() && value != "void");
    let without_utility = capabilities.clone().filter(|all| {
        let has = |one: &str| ["utility", "all"].contains(&one.trim());
        !all.is_empty() && !all.split(',').any(has)
    });
    match (is, asked, without_utility) {
        (false, ..) => GpuCause::NoLibrary(None),
        (true, Some(_), Some(capabilities)) => GpuCause::NoUtility(capabilities),
        (true, asked, _) => GpuCause::NothingInjected(asked),
    }
}

fn is_stub(file: &std::path::Path) -> bool {
    file.components().any(|part| part.as_os_str() == "stubs")
}

fn holder(evidence: &Evidence) -> Option<String> {
    evidence.bus.iter().flatten().find(|module| *module != "nvidia").cloned()
}

/// What is wrong with the device nodes.
fn nodes(evidence: &Evidence) -> Option<GpuCause> {
    if evidence.is_wsl {
        return None;
    }
    let missing = |name: &str| Some(GpuCause::NodeMissing(evidence.dev.join(name)));
    match (denied(evidence), &evidence.control, evidence.devices.is_empty()) {
        (denied @ Some(_), ..) => denied,
        (None, Node::Missing, _) => missing("nvidiactl"),
        (None, _, true) => missing("nvidia0"),
        _ => None,
    }
}

fn denied(evidence: &Evidence) -> Option<GpuCause> {
    let control = evidence.dev.join("nvidiactl");
    let all = std::iter::once((&control, &evidence.control));
    let mut all = all.chain(evidence.devices.iter().map(|(path, node)| (path, node)));
    all.find_map(|(path, node)| match node {
        Node::Denied(words) => Some(GpuCause::NodeDenied(path.clone(), words.clone())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with a GPU and all of its driver.
    fn whole() -> Evidence {
        Evidence {
            bus: vec![Some("nvidia".into())],
            module: Some(Some("580.95.05".into())),
            dev: "/dev".into(),
            control: Node::Usable,
            devices: vec![("/dev/nvidia0".into(), Node::Usable)],
            ..Evidence::default()
        }
    }

    fn missing() -> Failure {
        Failure::Library("libnvidia-ml.so.1: cannot open shared object file: No such file or directory".into())
    }

    fn word(failure: &Failure, library: &Library, evidence: &Evidence) -> &'static str {
        let cause = cause_of(failure, library, evidence);
        assert!(!cause.to_string().is_empty());
        assert_eq!(cause.remedy().is_none(), cause == GpuCause::NoGpu);
        cause.word()
    }

    #[test]
    fn each_broken_machine_has_one_cause() {
        let system = Library::default();
        let container = |visible: Option<&str>, capabilities: Option<&str>| Evidence {
            container: Container {
                is: true,
                visible: visible.map(Into::into),
                capabilities: capabilities.map(Into::into),
            },
            ..whole()
        };
        let denied = || Node::Denied("Operation not permitted (os error 1)".into());
        let refused = |code| Failure::Refused(Code(code));
        for (failure, evidence, expected) in [
            (missing(), Evidence::default(), "no_gpu"),
            (refused(9), Evidence::default(), "no_gpu"),
            (Failure::None, Evidence::default(), "no_gpu"),
            (missing(), Evidence { module: None, ..whole() }, "no_driver"),
            (missing(), whole(), "no_library"),
            (missing(), container(None, None), "nothing_injected"),
            (missing(), container(Some("void"), None), "nothing_injected"),
            (missing(), container(Some("all"), None), "nothing_injected"),
            (missing(), container(Some("all"), Some("compute")), "no_utility_capability"),
            (missing(), container(Some("all"), Some("compute,utility")), "nothing_injected"),
            (Failure::Library("Dynamic loading not supported".into()), whole(), "musl"),
            (Failure::Library("Dynamic loading not supported".into()), Evidence::default(), "no_gpu"),
            (Failure::Library("x.so: invalid ELF header".into()), whole(), "library_not_loadable"),
            (refused(13), whole(), "not_nvml"),
            (refused(18), whole(), "driver_mismatch"),
            (refused(9), Evidence { module: None, ..whole() }, "module_not_loaded"),
            (refused(9), Evidence { control: Node::Missing, ..whole() }, "device_node_missing"),
            (refused(9), Evidence { control: denied(), ..whole() }, "device_node_denied"),
            (refused(999), Evidence { control: denied(), ..whole() }, "device_node_denied"),
            (refused(28), Evidence { devices: Vec::new(), ..whole() }, "device_node_missing"),
            (
                refused(28),
                Evidence { devices: vec![("/dev/nvidia0".into(), denied())], ..whole() },
                "device_node_denied",
            ),
            (refused(9), whole(), "stub_library"),
            (refused(4), whole(), "no_permission"),
            (refused(999), whole(), "refused"),
            (Failure::None, container(Some("none"), None), "no_gpu_visible"),
            (Failure::None, whole(), "no_gpu_visible"),
            (refused(999), Evidence { is_wsl: true, ..Evidence::default() }, "refused"),
        ] {
            assert_eq!(word(&failure, &system, &evidence), expected, "{failure:?} on {evidence:?}");
        }
        let stub = Library { file: Some("/usr/local/cuda/lib64/stubs/libnvidia-ml.so".into()), ..system };
        assert_eq!(word(&refused(9), &stub, &Evidence { module: None, ..whole() }), "stub_library");
    }

    #[test]
    fn who_holds_the_gpu_is_named_with_its_remedy() {
        for (holder, words) in [("nouveau", "unload nouveau"), ("vfio-pci", "virtual machine")] {
            let evidence = Evidence { bus: vec![Some(holder.into())], module: None, ..whole() };
            let cause = cause_of(&missing(), &Library::default(), &evidence);
            assert!(cause.to_string().contains(holder), "{cause}");
            assert!(cause.remedy().is_some_and(|remedy| remedy.contains(words)), "{cause:?}");
        }
    }

    #[test]
    fn a_gpu_that_is_refused_for_its_node_says_so() {
        let denied = Node::Denied("Permission denied (os error 13)".into());
        let evidence = Evidence { devices: vec![("/dev/nvidia1".into(), denied)], ..whole() };
        assert_eq!(cause_of_gpu(Code(999), &evidence).word(), "device_node_denied");
        assert_eq!(cause_of_gpu(Code(15), &evidence).word(), "gpu_lost");
    }
}
