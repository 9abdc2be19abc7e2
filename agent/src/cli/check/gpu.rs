//! GPUs: which there are and how each is measured, or the one cause why there are none.

use hostgauge_collectors::{GpuCause, GpuChoice, GpuDiagnosis, GpuFound, GpuSelection};

use super::{Finding, Machine};

const SUBJECT: &str = "gpu";

pub(super) fn check(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(diagnosis) = &machine.gpus else { return vec![Finding::ok(SUBJECT, "not measured: gpus is none")] };
    // As for the collector: then a machine without GPUs is a failure.
    let asked = machine.values().nvml_library.is_some() || machine.values().gpus != GpuSelection::All;
    match &diagnosis.cause {
        Some(GpuCause::NoGpu) if !asked => vec![Finding::ok(SUBJECT, "no GPU")],
        Some(cause) => vec![none(cause, asked)],
        None => all(diagnosis, asked),
    }
}

fn none(cause: &GpuCause, asked: bool) -> Finding {
    let finding =
        Finding::bad(asked || !cause.is_quiet(), SUBJECT, cause.word(), format!("no GPU is measured: {cause}"));
    finding.remedy(cause.remedy().unwrap_or_else(|| "leave --gpus and --nvml-library out".into()))
}

fn all(diagnosis: &GpuDiagnosis, asked: bool) -> Vec<Finding> {
    let driver = diagnosis.driver.as_ref().map_or_else(|| "driver".into(), |version| format!("driver {version}"));
    let library = diagnosis.library.as_ref().map(|file| format!(", library {}", file.display())).unwrap_or_default();
    let mut findings = vec![Finding::ok(SUBJECT, format!("{driver}{library}"))];
    findings.extend(diagnosis.gpus.iter().map(|gpu| one(gpu, asked)));
    findings.extend(diagnosis.absent.iter().map(|choice| {
        let name = match choice {
            GpuChoice::Index(index) => index.to_string(),
            GpuChoice::Uuid(uuid) => uuid.clone(),
        };
        Finding::problem(SUBJECT, "gpu_not_found", format!("{name}: the driver shows no such GPU"))
            .remedy("hostgauge check --gpus all lists those that it shows")
    }));
    findings.extend(diagnosis.lacks.iter().map(|(function, costs)| {
        Finding::note(SUBJECT, "function_missing", format!("the library lacks {function}: {costs}"))
            .remedy("a newer driver has it")
    }));
    findings
}

fn one(gpu: &GpuFound, asked: bool) -> Finding {
    let names = [&gpu.name, &gpu.uuid].into_iter().filter(|name| !name.is_empty());
    let names: String = names.map(|name| format!(" {name}")).collect();
    let title = format!("{}{names}", gpu.index);
    if let Some(cause) = &gpu.cause {
        let finding = Finding::bad(asked || !cause.is_quiet(), SUBJECT, cause.word(), format!("{title}: {cause}"));
        return finding.remedy(cause.remedy().unwrap_or_default());
    }
    let memory = match gpu.memory_v2 {
        Some(true) => "memory v2 (as nvidia-smi)",
        Some(false) => "memory v1 (reserved is inside used)",
        None => "no memory",
    };
    match gpu.sources.as_slice() {
        [] => Finding::note(SUBJECT, "no_utilization", format!("{title}: no source of utilization; {memory}"))
            .remedy("this card and driver tell none"),
        sources => {
            let mig = if gpu.mig { "; cut up by MIG" } else { "" };
            Finding::ok(SUBJECT, format!("{title}: utilization from {}; {memory}{mig}", sources.join(", ")))
        }
    }
}
