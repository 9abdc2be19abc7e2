//! A machine with GPUs: the double of NVIDIA's library, on a scenario that changes while the agent runs.

use std::path::PathBuf;

use nvidia_ml_double::{Gpu, Load, SCENARIO, Scenario, library};

use super::Agent;
use super::agent::hostgauge;

pub(crate) struct Machine {
    pub scenario: Scenario,
    /// Where the scenario is; tests put more beside it.
    pub folder: tempfile::TempDir,
}

impl Machine {
    /// One with a GPU for each UUID, as busy as that.
    pub(crate) fn new(loads: &[(&str, Load)]) -> Self {
        let gpu = |(index, (uuid, load)): (usize, &(&str, Load))| {
            let mut gpu = Gpu::new(uuid, &format!("00000000:{:02X}:00.0", 16 + index));
            gpu.load = *load;
            gpu
        };
        let gpus = loads.iter().enumerate().map(gpu).collect();
        let machine =
            Self { scenario: Scenario { gpus, ..Scenario::default() }, folder: tempfile::tempdir().expect("a folder") };
        machine.play();
        machine
    }

    /// The scenario's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("scenario.toml")
    }

    /// From now on it is as the scenario says.
    pub(crate) fn play(&self) {
        self.scenario.write(&self.path()).expect("the scenario is written");
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Scenario)) {
        change(&mut self.scenario);
        self.play();
    }

    /// The agent on it, with this library.
    pub(crate) fn start(&self, library: &str, args: &[&str]) -> Agent {
        let mut command = hostgauge(&[&["--nvml-library", library], args].concat());
        command.env(SCENARIO, self.path());
        Agent::spawn(command)
    }
}

pub(crate) fn path_of_double() -> String {
    library().expect("the double is built with the tests").display().to_string()
}
