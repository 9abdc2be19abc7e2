//! Beside a recorder that the program has installed already. A test binary of its own: the facade's global recorder is
//! one for a process.

use std::time::{Duration, Instant};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

#[test]
fn samples_reach_the_recorder_that_the_program_has() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("the first recorder");

    let refused = hostgauge::Builder::new().install().map(|_| ());
    assert!(refused.expect_err("there is one").to_string().contains("already has a global recorder"));

    let _hostgauge = hostgauge::Builder::new().interval(Duration::from_millis(100)).attach().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let series = snapshotter.snapshot().into_vec();
        let cpu = series.iter().find(|(key, ..)| key.key().name() == "hostgauge_cpu_utilization_percent");
        if let Some((_, unit, help, DebugValue::Gauge(percent))) = cpu
            && percent.is_finite()
        {
            assert_eq!(*unit, Some(metrics::Unit::Percent));
            assert!(help.as_ref().is_some_and(|help| help.contains("Busy")));
            return;
        }
        assert!(Instant::now() < deadline, "waited 20 s for a CPU sample in the program's recorder");
        std::thread::sleep(Duration::from_millis(20));
    }
}
