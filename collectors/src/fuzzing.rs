//! Properties that hold for every input, by the name of their fuzz target. See `tests/fuzz/README.md`.

#[path = "../../tests/fuzz/input.rs"]
pub(crate) mod input;
#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;

use std::collections::BTreeSet;

use crate::gpu::fuzzing::{gpu_ring, nvml_answers, process_shares, process_text};
use crate::linux::cgroup::fuzzing::{cgroup_files, ecs_task, mountinfo};
use crate::linux::fuzzing::{kernel_cpu, kernel_memory};
use crate::{GpuProcesses, GpuSelection, Scope};

/// A name, and the property of that name.
type Named = (&'static str, fn(&[u8]));

/// Every property of this package.
pub const TARGETS: &[Named] = &[
    ("cgroup_files", cgroup_files),
    ("ecs_task", ecs_task),
    ("gpu_ring", gpu_ring),
    ("kernel_cpu", kernel_cpu),
    ("kernel_memory", kernel_memory),
    ("mountinfo", mountinfo),
    ("nvml_answers", nvml_answers),
    ("process_shares", process_shares),
    ("process_text", process_text),
    ("scope", scope),
];

/// A scope and a choice of GPUs read back as what they were written as, and hold nothing that was not written.
fn scope(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match text.parse::<Scope>() {
        Ok(scope) => {
            let written = scope.to_string();
            assert_eq!(written.parse(), Ok(scope));
            assert!(!written.chars().any(char::is_control) && written.len() <= text.len() + 1, "{written:?}");
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
    if let Ok(GpuSelection::These(choices)) = text.parse() {
        let named = if text == "none" { 0 } else { text.split(',').count() };
        assert_eq!(choices.len(), named);
    }
    if text.parse::<GpuProcesses>().is_ok() {
        assert!(["off", "container", "process"].contains(&text));
    }
}

/// The whole numbers that stand in a text: a reader gives no others.
pub(crate) fn written(text: &[u8]) -> BTreeSet<u64> {
    let numbers = text.split(|byte| !byte.is_ascii_digit()).filter_map(|digits| str::from_utf8(digits).ok());
    numbers.filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_property_holds_for_its_corpus() {
        super::replay::replay(super::TARGETS);
    }
}
