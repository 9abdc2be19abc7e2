//! Properties of the sources of the identity.
#![allow(clippy::expect_used, reason = "a property that does not hold panics")]

use std::fs;
use std::path::PathBuf;

use hostgauge_collectors::Roots;

use super::{Figure, Places, settle};
use crate::fuzzing::input::parts;

/// What each part of the input is, by its place: variables, then files. Nobody is asked over a network.
const VARIABLES: [&str; 9] = [
    "TRAINING_JOB_NAME",
    "TRAINING_JOB_ARN",
    "SAGEMAKER_BATCH",
    "SM_CURRENT_HOST",
    "SM_TRAINING_ENV",
    "SLURM_JOB_ID",
    "SLURM_NODEID",
    "TORCHELASTIC_RUN_ID",
    "GROUP_RANK",
];
const FILES: [&str; 7] = [
    "root/opt/ml/input/config/resourceconfig.json",
    "root/opt/ml/config/processingjobconfig.json",
    "root/opt/ml/config/resource_config.json",
    "root/opt/ml/input/sm_training.env",
    "proc/net/fib_trie",
    "podinfo/labels",
    "podinfo/annotations",
];

/// A folder of this process for the files; made once, since that takes longer than all else.
fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hostgauge-fuzz-identity-{}", std::process::id()));
    if !folder.exists() {
        for file in FILES {
            let parent = folder.join(file).parent().map(PathBuf::from).unwrap_or_default();
            fs::create_dir_all(parent).expect("a folder");
        }
    }
    folder
}

/// Whatever the sources say, there is a Host on one line, every warning is one line, and what is claimed was said: a
/// number or a part of what was read.
pub(crate) fn identity(data: &[u8]) {
    let parts: Vec<&[u8]> = parts(data).collect();
    let folder = folder();
    for (file, place) in FILES.iter().zip(VARIABLES.len()..) {
        let path = folder.join(file);
        match parts.get(place).filter(|content| !content.is_empty()) {
            Some(content) => fs::write(path, content).expect("written"),
            // Whether it was there does not matter.
            None => drop(fs::remove_file(path)),
        }
    }
    let texts: Vec<String> = parts.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let variable = |name: &str| {
        let place = VARIABLES.iter().position(|known| *known == name)?;
        texts.get(place).filter(|text| !text.is_empty()).cloned()
    };
    let (rootfs, procfs) = (folder.join("root"), folder.join("proc"));
    let roots = Roots { rootfs, procfs, sysfs: folder.join("sys") };
    let places = Places { variables: Box::new(variable), roots: &roots, podinfo: &folder.join("podinfo") };
    let identity = settle(Vec::new(), &places, Some("this-machine".to_owned()));

    assert!(!identity.host.trim().is_empty() && !identity.host.chars().any(char::is_control), "{:?}", identity.host);
    assert!(identity.warnings.iter().all(|warning| !warning.contains('\n')), "{:?}", identity.warnings);
    assert!(identity.used.iter().all(|place| *place < identity.sources.len()));
    if data.is_empty() {
        assert_eq!(identity.host, "this-machine");
    }
    for (figure, text) in identity.sources.iter().flat_map(|source| &source.claims) {
        assert!(!text.chars().any(char::is_control) && text.len() <= 1024, "{figure:?} {text:?}");
        if *figure == Figure::Number {
            assert!(text.parse::<u32>().is_ok_and(|number| number > 0), "{text:?}");
        }
    }
}
