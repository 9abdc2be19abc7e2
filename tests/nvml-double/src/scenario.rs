//! The scenario: which GPUs there are and how they fare. README.md shows one with every key.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

mod gpu;
mod vitals;

pub use gpu::*;
pub use vitals::*;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A whole scenario file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// The driver as a whole.
    pub driver: Driver,
    /// Functions that misbehave.
    #[serde(rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// The GPUs, by index.
    #[serde(rename = "gpu", skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Gpu>,
}

/// The driver as a whole.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Driver {
    /// What nvmlSystemGetDriverVersion answers; from 580.82 on, fields 251 to 273 have their new numbers. Once it
    /// differs from what it was when the library was loaded, every call answers LIB_RM_VERSION_MISMATCH (18) until the
    /// library is loaded anew.
    pub version: String,
    /// What nvmlSystemGetNVMLVersion answers; by default "13." and the driver's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvml: Option<String>,
    /// The CUDA version, such as "13.0". None: LIBRARY_NOT_FOUND (12), as in a container without the `compute`
    /// capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<String>,
    /// The return code of nvmlInit_v2 and nvmlInitWithFlags: 9 no driver, 18 mismatch, 28 no GPU. None: they succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_error: Option<u32>,
}

impl Default for Driver {
    fn default() -> Self {
        Self { version: "580.95.05".to_owned(), nvml: None, cuda: Some("13.0".to_owned()), init_error: None }
    }
}

/// A function that misbehaves. The first one that fits a call is played.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Its exact name, such as "nvmlDeviceGetSamples", or "*" for all.
    pub function: String,
    /// Only for the GPU of this index. None: for all calls, also those about no GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<usize>,
    /// It does not return for as long as the scenario says so: a wedged driver.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hang: bool,
    /// It takes so much longer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delay_ms: u64,
    /// Its return code. None: what it would have answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<u32>,
}

impl Scenario {
    /// The scenario that is played when no file is named.
    pub fn demonstration() -> Self {
        Self::parse(include_str!("../scenarios/demonstration.toml")).unwrap_or_default()
    }

    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with line and column where the form is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The scenario as a file has it.
    ///
    /// # Errors
    ///
    /// A number above 2^63, which TOML lacks.
    pub fn to_toml(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|error| error.to_string())
    }

    /// Writes the scenario so that a library that plays it sees the old one or the new one, never half of one.
    ///
    /// # Errors
    ///
    /// As the file system says, or as [`Self::to_toml`].
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = self.to_toml().map_err(io::Error::other)?;
        let beside = path.with_extension("new");
        fs::write(&beside, text)?;
        fs::rename(&beside, path)
    }

    fn check(&self) -> Result<(), String> {
        let mut identities = HashSet::new();
        for fault in &self.faults {
            if fault.function != "*" && !crate::functions().any(|name| name == fault.function) {
                return Err(format!("fault: no function {:?} here", fault.function));
            }
        }
        for (index, gpu) in self.gpus.iter().enumerate() {
            gpu.check().map_err(|what| format!("gpu {index}: {what}"))?;
            let uuids = gpu.mig.iter().flat_map(|mig| &mig.instances).map(|instance| &instance.uuid);
            for identity in uuids.chain([&gpu.uuid, &gpu.pci]) {
                if !identities.insert(identity) {
                    return Err(format!("gpu {index}: {identity} is there twice"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_is_a_good_scenario_and_stands_in_the_readme() {
        let text = include_str!("../scenarios/demonstration.toml");
        let scenario = Scenario::parse(text).expect("it parses");
        assert!(scenario.gpus.len() >= 2);
        assert!(include_str!("../README.md").contains(text), "README.md shows scenarios/demonstration.toml");
    }

    #[test]
    fn a_scenario_survives_being_written() {
        let mut scenario = Scenario::demonstration();
        scenario.faults.push(Fault { function: "nvmlDeviceGetSamples".into(), error: Some(999), ..Fault::default() });
        let text = scenario.to_toml().expect("TOML");
        assert_eq!(Scenario::parse(&text).expect(&text), scenario);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let gpu = "[[gpu]]\nuuid = \"GPU-1\"\npci = \"0000:01:00.0\"\n";
        for (text, expected) in [
            (format!("{gpu}colour = 1"), "colour"),
            (format!("{gpu}load = 101"), "load"),
            (format!("{gpu}load = \"high\""), "percentage"),
            (format!("{gpu}[gpu.memory]\ntotal = 1\nused = 2"), "memory"),
            (format!("{gpu}[gpu.ring]\nsize = 0"), "ring"),
            (format!("{gpu}{gpu}"), "twice"),
            ("[[gpu]]\nuuid = \"GPU-1\"\npci = \"here\"".to_owned(), "00000000:18:00.0"),
            ("[[fault]]\nfunction = \"nvmlDeviceGetSample\"".to_owned(), "no function"),
        ] {
            let error = Scenario::parse(&text).expect_err(&text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_forms_of_a_bus_address() {
        let expected = Some(PciAddress { domain: 0, bus: 0x18, device: 0 });
        for text in ["00000000:18:00.0", "0000:18:00.0", "18:00.0"] {
            assert_eq!(PciAddress::parse(text), expected, "{text}");
        }
        for text in ["", "18", "18:00", "1:2:3:4.0", "100:00.0", "18:20.0", "xx:00.0"] {
            assert_eq!(PciAddress::parse(text), None, "{text}");
        }
    }
}
