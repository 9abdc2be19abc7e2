//! GPUs on CloudWatch, whose double is strict.

use hostgauge_cloudwatch_double::Datum;

use super::support::cloudwatch::{Account, HOST, stop};
use super::*;

/// The values of a datum with how often each was there.
fn levels(datum: &Datum) -> Vec<(f64, f64)> {
    let counts = datum.counts.clone().unwrap_or_else(|| vec![1.0; datum.values.len()]);
    datum.values.iter().copied().zip(counts).collect()
}

/// The documented sums under the Host alone, and with `--cloudwatch-per-device` each GPU by its UUID, with all samples.
#[test]
fn each_gpu_is_published_with_its_distribution() {
    let bursts = Load::Cycle(DutyCycle { share: 0.5, period_s: 4.0 });
    let machine = Machine::new(&[(A, Load::Percent(30.0)), (B, bursts)]);
    let account = Account::open();
    let periods = ["--interval", "1s", "--cloudwatch-period", "10s", "--cloudwatch-per-device"];
    let mut command = account.command(&[&periods[..], &["--nvml-library", &path_of_double()]].concat());
    command.env(SCENARIO, machine.path());
    let agent = Agent::spawn(command);
    // Two seconds of each four, so eight ticks see both.
    for _ in 0..8 {
        agent.next_tick();
    }
    stop(agent);

    let stored = account.stored();
    let data: Vec<&Datum> = stored.iter().flat_map(|call| &call.metric_data).collect();
    let host = ("Host".to_owned(), HOST.to_owned());
    let of = |gpu: Option<&str>| {
        let device = gpu.map(|uuid| ("AcceleratorId".to_owned(), uuid.to_owned()));
        let wanted: Vec<_> = std::iter::once(host.clone()).chain(device).collect();
        let fits = |datum: &&Datum| datum.metric_name == "GPUUtilization" && datum.dimensions == wanted;
        let levels: Vec<_> = data.iter().copied().filter(fits).flat_map(levels).collect();
        assert!(!levels.is_empty(), "{gpu:?}: {data:#?}");
        levels
    };
    let samples = |levels: &[(f64, f64)]| levels.iter().map(|(_, count)| count).sum::<f64>();
    let (sum, steady, bursts) = (of(None), of(Some(A)), of(Some(B)));
    assert!(steady.iter().all(|(percent, _)| (percent - 30.0).abs() <= 1.0), "{steady:?}");
    let ends = |levels: &[(f64, f64)]| {
        let values = levels.iter().map(|(value, _)| *value);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
    };
    let ((low, high), (least, most)) = (ends(&bursts), ends(&sum));
    assert!(low < 10.0 && high > 90.0, "{bursts:?}");
    assert!(least < 45.0 && most > 115.0 && most <= 131.0, "{sum:?}");
    assert_eq!(samples(&steady), samples(&bursts));
    assert_eq!(samples(&steady), samples(&sum), "a sum of every tick");
}
