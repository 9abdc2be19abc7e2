//! What a person wants to know of this machine's GPUs before the agent runs: which there are and how each is measured,
//! or the one cause why there are none.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::busy::Source;
use super::cause::{Failure, GpuCause, Library, cause_of, cause_of_gpu};
use super::driver::{Code, Driver, Handle};
use super::evidence::Evidence;
use super::selection::{Choice, Selection};
use crate::sample::Roots;

/// More GPUs than any machine has.
const MOST_GPUS: u32 = 256;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuDiagnosis {
    /// The library's file, where it was loaded and is known.
    pub library: Option<PathBuf>,
    /// The driver's version, where it tells one.
    pub driver: Option<String>,
    /// The GPUs that are to be measured, by index.
    pub gpus: Vec<GpuFound>,
    /// The GPUs that were asked for and are not there.
    pub absent: Vec<Choice>,
    /// Functions that this library lacks, each with what that costs.
    pub lacks: Vec<(&'static str, &'static str)>,
    /// Why there is none at all.
    pub cause: Option<GpuCause>,
}

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuFound {
    /// NVML's index now.
    pub index: u32,
    /// Its identity; empty where it does not say.
    pub uuid: String,
    /// The product; empty where it does not say.
    pub name: String,
    /// What its utilization can be had from, by the values of the label `source`.
    pub sources: Vec<&'static str>,
    /// Whether used memory comes apart from what the driver reserves (v2); `None` without memory.
    pub memory_v2: Option<bool>,
    /// Whether it is cut up into instances.
    pub mig: bool,
    /// What is wrong with it.
    pub cause: Option<GpuCause>,
}

impl GpuDiagnosis {
    fn of(cause: GpuCause) -> Self {
        Self { cause: Some(cause), ..Self::default() }
    }
}

/// Looks at the machine below `roots` and asks the driver's library, as the collector does: `library` is its path,
/// `None` for the system's. `variable` reads the environment. Ends within `patience`, also where the driver hangs: then
/// the call stays behind in a thread of its own.
pub fn diagnose(
    roots: &Roots,
    selection: &Selection,
    library: Option<&Path>,
    variable: impl Fn(&str) -> Option<String> + Send + 'static,
    patience: Duration,
) -> GpuDiagnosis {
    let (roots, selection, library) = (roots.clone(), selection.clone(), library.map(Path::to_owned));
    let (tell, told) = mpsc::sync_channel(1);
    let work = move || drop(tell.send(look(&roots, &selection, library, variable)));
    match thread::Builder::new().name("hostgauge-check".into()).spawn(work) {
        Ok(_) => told.recv_timeout(patience).unwrap_or_else(|_| GpuDiagnosis::of(GpuCause::Silent)),
        Err(error) => GpuDiagnosis::of(GpuCause::Refused(error.to_string())),
    }
}

#[cfg(any(target_os = "linux", target_os = "windows"))]
fn look(
    roots: &Roots,
    selection: &Selection,
    path: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<String>,
) -> GpuDiagnosis {
    use super::driver::LoadError;
    use super::nvml;

    let inspected = nvml::inspect(path.as_deref());
    let mut library = Library { named: path.clone(), ..Library::default() };
    let failed = |failure, library: &Library| {
        let cause = cause_of(&failure, library, &Evidence::gather(roots, &variable));
        GpuDiagnosis { library: library.file.clone(), ..GpuDiagnosis::of(cause) }
    };
    let inspected = match inspected {
        Ok(inspected) => inspected,
        Err(words) => return failed(Failure::Library(words), &library),
    };
    library.file = inspected.file.clone();
    let driver = match nvml::load(path.as_deref()) {
        Ok(driver) => driver,
        Err(error) => {
            library.version = inspected.version();
            let failure = match error {
                LoadError::Library(words) => Failure::Library(words),
                LoadError::Refused(code) => Failure::Refused(code),
            };
            return failed(failure, &library);
        }
    };
    match driver.count() {
        Ok(0) => failed(Failure::None, &library),
        Err(code) => failed(Failure::Refused(code), &library),
        Ok(count) => {
            let evidence = || Evidence::gather(roots, &variable);
            let all: Vec<GpuFound> =
                (0..count.min(MOST_GPUS)).map(|index| found(driver.as_ref(), index, &evidence)).collect();
            let absent =
                selection.choices().iter().filter(|choice| !all.iter().any(|gpu| choice.is(gpu.index, &gpu.uuid)));
            let absent = absent.cloned().collect();
            let gpus = all.into_iter().filter(|gpu| selection.has(gpu.index, &gpu.uuid)).collect();
            let (library, driver, lacks) = (library.file, inspected.driver_version(), inspected.lacks());
            GpuDiagnosis { library, driver, gpus, absent, lacks, cause: None }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "windows")))]
fn look(_: &Roots, _: &Selection, _: Option<PathBuf>, _: impl Fn(&str) -> Option<String>) -> GpuDiagnosis {
    GpuDiagnosis::of(GpuCause::NoGpu)
}

/// One GPU, by asking it all that the collector asks.
fn found(driver: &dyn Driver, index: u32, evidence: &dyn Fn() -> Evidence) -> GpuFound {
    let mut gpu = GpuFound { index, ..GpuFound::default() };
    let asked = driver.handle(index).and_then(|mut handle| {
        let identity = handle.identity()?;
        (gpu.uuid, gpu.name) = (identity.uuid, identity.name);
        gpu.cause = ask(handle.as_mut(), &mut gpu)?;
        Ok(())
    });
    if let Err(code) = asked {
        gpu.cause = Some(cause_of_gpu(code, &evidence()));
    }
    gpu
}

/// Which sources answer, and what is wrong although the GPU is well.
fn ask(handle: &mut dyn Handle, gpu: &mut GpuFound) -> Result<Option<GpuCause>, Code> {
    let mig = handle.mig() == Ok(true);
    gpu.mig = mig;
    let memory = handle.memory();
    gpu.memory_v2 = memory.as_ref().ok().map(|memory| memory.reserved.is_some());
    // A GPU in MIG mode has no utilization of its own, whatever a driver may answer.
    let ring = if mig { Err(Code::NOT_FOUND) } else { handle.ring(&mut Vec::new()) };
    let snapshot = if mig { Err(Code::NOT_FOUND) } else { handle.snapshot().map(drop) };
    let answers = [(Source::Ring, ring), (Source::Gpm, handle.gpm().map(drop)), (Source::Snapshot, snapshot)];
    let sources = answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(source, _)| source.as_str());
    gpu.sources = sources.collect();
    let refused = memory.map(drop).err();
    let whole = [refused].into_iter().flatten().chain(answers.iter().filter_map(|(_, answer)| answer.err()));
    if let Some(code) = whole.into_iter().find(|code| !code.is_of_the_call()) {
        return Err(code);
    }
    match (mig, refused, gpu.sources.as_slice()) {
        (true, Some(Code(4)), _) => Ok(Some(GpuCause::MigSlice)),
        (true, _, []) => Ok(Some(GpuCause::Mig)),
        (false, Some(code), []) => Err(code),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_the_cause_where_it_was_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let roots = Roots {
            procfs: folder.path().to_owned(),
            sysfs: folder.path().to_owned(),
            rootfs: folder.path().to_owned(),
        };
        let patience = Duration::from_secs(5);
        let named = diagnose(&roots, &Selection::All, Some(Path::new("/no/such.so")), |_| None, patience);
        assert_eq!(named.cause, Some(GpuCause::NoSuchLibrary("/no/such.so".into())));
        let libc = diagnose(&roots, &Selection::All, Some(Path::new("libc.so.6")), |_| None, patience);
        assert_eq!(libc.cause, Some(GpuCause::NotNvml));
    }
}
