//! One process for each scenario: the library keeps its state in the process, and its environment is read once.
#![allow(dead_code, reason = "no test file needs all of it")]
#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::env;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;

use nvidia_ml_double::{CALLS, Gpu, SCENARIO, Scenario, library};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// What a test in its own process works with.
pub(crate) struct Stage {
    pub scenario: Scenario,
    path: PathBuf,
    pub calls: PathBuf,
}

impl Stage {
    /// Changes the scenario that the library plays.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Scenario)) {
        change(&mut self.scenario);
        self.scenario.write(&self.path).expect("the scenario is written");
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Runs `test`, which is the body of the test function `name`, in a process of its own.
pub(crate) fn alone(name: &str, scenario: Scenario, test: impl FnOnce(Stage)) {
    if let Some(path) = env::var_os(SCENARIO) {
        let calls = env::var_os(CALLS).expect("the parent names it").into();
        return test(Stage { scenario, path: path.into(), calls });
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scenario.toml");
    scenario.write(&path).expect("the scenario is written");
    let output = Command::new(env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture"])
        .env(SCENARIO, path)
        .env(CALLS, folder.path().join("calls"))
        .output()
        .expect("the test runs again");
    let text = String::from_utf8_lossy(&output.stdout);
    let ran = output.status.success() && text.contains("1 passed");
    assert!(ran, "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The library, loaded and initialised as an agent does it.
pub(crate) fn nvml() -> Nvml {
    try_nvml().expect("NVML")
}

pub(crate) fn try_nvml() -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(library().expect("the library").as_os_str()).init()
}

/// A scenario of `count` GPUs without any special trait.
pub(crate) fn gpus(count: usize) -> Scenario {
    let gpu = |index| Gpu::new(&uuid(index), &format!("00000000:{index:02X}:00.0"));
    Scenario { gpus: (0..count).map(gpu).collect(), ..Scenario::default() }
}

pub(crate) fn uuid(index: usize) -> String {
    format!("GPU-11111111-2222-3333-4444-{index:012}")
}

/// The name of the error, or what was answered instead.
pub(crate) fn error<T: Debug>(result: Result<T, impl Debug>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |value| format!("answered {value:?}"))
}
