//! GPUs that are cut up by MIG.

use nvidia_ml_double::{Instance, Memory, Mig};

use super::*;

const SERIES: &str = "hostgauge_gpu_instance_";

fn instance(slot: u32, number: u64, gi: u32, load: f64) -> Instance {
    let memory = Memory { total: 10_000_000_000, used: number * 1_000_000_000, reserved: 0 };
    let load = Load::Percent(load);
    Instance { slot, uuid: uuid(number), gi, ci: 0, slices: 1, load, memory }
}

fn uuid(number: u64) -> String {
    format!("MIG-11111111-2222-3333-4444-{number:012}")
}

fn cut(instances: Vec<Instance>) -> Option<Mig> {
    Some(Mig { instances, ..Mig::default() })
}

fn of(page: &Page, what: &str, number: u64) -> Option<f64> {
    page.get(&format!("{SERIES}{what}"), &[("uuid", B), ("mig_uuid", &uuid(number))])
}

/// GPM divides, so that percentages are not whole.
fn is_near(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 0.5)
}

#[test]
fn instances_beside_a_whole_gpu_come_and_go() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(50.0))]);
    let before = vec![instance(0, 1, 7, 20.0), instance(1, 2, 9, 80.0)];
    machine.change(|scenario| scenario.gpus[1].mig = cut(before));
    let agent = machine.agent(&[]);
    let is_whole = |page: &Page| {
        let both = is_near(of(page, "utilization_percent", 1), 20.0);
        (both && is_near(of(page, "utilization_percent", 2), 80.0)).then(|| page.clone())
    };
    let page = agent.wait_for(SOON, "both instances", is_whole);
    assert_eq!(of(&page, "memory_used_bytes", 2), Some(2e9));
    assert_eq!(of(&page, "memory_utilization_percent", 2), Some(20.0));
    let labels = [("mig_uuid", &*uuid(1)), ("profile", "1g.9gb"), ("gi", "7"), ("ci", "0"), ("gpu", "1")];
    assert_eq!(page.value("hostgauge_gpu_instance_info", &labels), 1.0, "beside {}", page.text);
    assert!(is_near(sum(&page), 80.0), "the GPU counts as one, by its own GPM: {:?}", sum(&page));
    assert_eq!(counts(&page), [Some(2.0), Some(2.0)]);

    // The number of a GPU instance is given again, in the same slot: its handle is another's now.
    let after = vec![instance(0, 3, 7, 60.0), instance(2, 2, 9, 80.0)];
    machine.change(|scenario| scenario.gpus[1].mig = cut(after));
    let page = agent.wait_for(SOON, "the new instance", |page| {
        for (number, load) in [(1, 20.0), (2, 80.0), (3, 60.0)] {
            let percent = of(page, "utilization_percent", number);
            assert!(percent.is_none() || is_near(percent, load), "{number}: {}", page.text);
            let used = of(page, "memory_used_bytes", number);
            assert!(used.is_none_or(|used| used == number as f64 * 1e9), "{number}: {}", page.text);
        }
        assert_eq!(page.get("hostgauge_gpu_up", &[("uuid", B)]), Some(1.0));
        let old = page.series.iter().any(|series| series.labels.get("mig_uuid") == Some(&uuid(1)));
        let new = page.series.iter().any(|series| series.labels.get("mig_uuid") == Some(&uuid(3)));
        assert!(old != new, "one of both, from one tick to the next: {}", page.text);
        of(page, "utilization_percent", 3).map(|_| page.clone())
    });
    assert!(is_near(of(&page, "utilization_percent", 2), 80.0), "it only changed its place");
    assert_eq!(page.value("hostgauge_gpu_mig_changes_total", &[("uuid", B)]), 1.0);
    assert_eq!(page.value("hostgauge_collector_success", &[("collector", "gpu")]), 1.0);
    agent.wait_for_log("MIG instances: ");

    machine.change(|scenario| scenario.gpus[1].mig = cut(Vec::new()));
    agent.wait_for(SOON, "their end", |page| (!page.text.contains("mig_uuid=")).then_some(()));
}

#[test]
fn before_hopper_an_instance_has_memory_and_no_utilization() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(50.0))]);
    machine.change(|scenario| {
        scenario.gpus[1].name = "NVIDIA A100-SXM4-40GB".to_owned();
        scenario.gpus[1].support.gpm = false;
        scenario.gpus[1].memory = Memory { total: 40_000_000_000, used: 10_000_000_000, reserved: 0 };
        scenario.gpus[1].mig = cut(vec![instance(0, 1, 7, 20.0)]);
    });
    let agent = machine.agent(&[]);
    let reason = [("uuid", B), ("reason", "mig")];
    let page = agent.wait_for(SOON, "the instance", |page| {
        let whole = page.get(UTILIZATION, &[("uuid", A)]).is_some() && of(page, "memory_used_bytes", 1).is_some();
        (whole && page.get("hostgauge_gpu_utilization_absent", &reason).is_some()).then(|| page.clone())
    });
    let page = if sum(&page).is_none() { agent.next_tick() } else { page };
    assert_eq!((sum(&page), counts(&page)), (None, [Some(2.0), Some(1.0)]));
    assert_eq!(page.value("hostgauge_gpu_memory_utilization_percent", &[]), 25.0, "the GPU's, not its instances'");
    let percents = page.series.iter().filter(|series| series.name.starts_with(SERIES));
    let percents: Vec<_> = percents.filter(|series| series.name.ends_with("_percent")).collect();
    assert_eq!(percents.len(), 1, "memory's: {percents:?}");
    assert_eq!(page.get(UTILIZATION, &[("uuid", B)]), None, "never 0 for not known");
    assert_eq!(page.all("hostgauge_gpu_utilization_absent").count(), 1);
}

#[test]
fn a_container_with_slices_only_sees_them() {
    let mut machine = Machine::new(&[(B, Load::Percent(50.0))]);
    machine.change(|scenario| {
        let instances = vec![instance(0, 1, 7, 20.0)];
        scenario.gpus[0].mig = Some(Mig { instances, instances_only: true, ..Mig::default() });
    });
    let agent = machine.agent(&[]);
    let is_there = |page: &Page| is_near(of(page, "utilization_percent", 1), 20.0).then(|| page.clone());
    let page = agent.wait_for(SOON, "the slice", is_there);
    assert_eq!(of(&page, "memory_utilization_percent", 1), Some(10.0));
    assert_eq!(page.value("hostgauge_gpu_up", &[("uuid", B)]), 1.0);
    assert_eq!((sum(&page), page.get("hostgauge_gpu_memory_utilization_percent", &[])), (None, None));
    assert_eq!(counts(&page), [Some(1.0), Some(0.0)]);
    assert_eq!(page.value("hostgauge_gpu_utilization_absent", &[("uuid", B), ("reason", "mig")]), 1.0);
}

#[test]
fn a_library_that_lacks_a_function_costs_what_it_would_have_said() {
    let mut machine = Machine::new(&[(B, Load::Percent(50.0))]);
    machine.change(|scenario| scenario.gpus[0].mig = cut(vec![instance(0, 1, 7, 20.0)]));
    for (function, what) in [
        ("nvmlDeviceGetMaxMigDeviceCount", None),
        ("nvmlDeviceGetMigDeviceHandleByIndex", None),
        ("nvmlDeviceGetGpuInstanceId", None),
        ("nvmlDeviceGetComputeInstanceId", Some("utilization_percent")),
        ("nvmlDeviceGetName", Some("utilization_percent")),
        ("nvmlGpmMigSampleGet", Some("memory_used_bytes")),
        ("nvmlDeviceGetMemoryInfo_v2", Some("memory_used_bytes")),
    ] {
        let older = machine.folder.path().join(format!("{function}.so"));
        without_symbol(&library().expect("the double"), function, &older).expect("a copy");
        let mut agent = machine.agent_with(&older.display().to_string(), &[]);
        let page = agent.wait_for(SOON, function, |page| {
            let there = what.is_none_or(|what| of(page, what, 1).is_some());
            (there && is_near(sum(page), 50.0)).then(|| page.clone())
        });
        assert_eq!(page.text.contains("mig_uuid="), what.is_some(), "without {function}: {}", page.text);
        let (status, _) = agent.stop("TERM");
        assert!(status.success(), "{status} without {function}: {}", agent.log());
    }
}

// Each instance holds something of the library, which must be let go as a whole to be loaded anew.
#[test]
fn instances_do_not_hold_on_to_a_driver_that_was_replaced() {
    let mut machine = Machine::new(&[(B, Load::Percent(50.0))]);
    machine.change(|scenario| scenario.gpus[0].mig = cut(vec![instance(0, 1, 7, 20.0)]));
    let agent = machine.agent(&[]);
    let is_there = |page: &Page| of(page, "utilization_percent", 1);
    agent.wait_for(SOON, "the instance", is_there);
    machine.change(|scenario| scenario.driver.version = "590.10.00".to_owned());
    agent.wait_for(SOON, "the end of the old one", |page| (!page.text.contains("mig_uuid=")).then_some(()));
    agent.wait_for(SOON, "the instance on the new driver", is_there);
}

#[test]
fn an_instance_cannot_be_chosen_and_that_is_said() {
    let ended = run(&mut hostgauge(&["once", "--gpus", &uuid(1)]), "");
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains("MIG instances are measured with their GPU"), "{}", ended.stderr);
}
