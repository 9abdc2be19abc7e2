//! CloudWatch, the page and EMF of one minute.

use super::*;

/// A datum's figures, by their bits. No mean lies beyond a bound; the quotient of a sum of equal values does, by what
/// each addition rounded.
fn bits(minimum: f64, maximum: f64, sum: f64, count: f64) -> [u64; 3] {
    [minimum, maximum, (sum / count).clamp(minimum, maximum)].map(f64::to_bits)
}

/// A real minute: nothing shorter is both the default period of CloudWatch and a window of the page.
#[test]
fn cloudwatch_prometheus_and_emf_agree_on_a_minute_to_the_last_bit() {
    let (period, window) = (Duration::from_secs(60), "1m");
    let account = Account::open();
    let lines = account.path("lines.json");
    let lines = lines.to_str().expect("UTF-8");
    let agent = account.start(&["--emf", lines, "--interval", "200ms"]);
    let families = ["cpu", "memory", "disk"].map(|what| format!("hostgauge_{what}_utilization_window_percent"));
    let page = agent.wait_for(2 * period + SOON, "a complete window of everything", |page| {
        let shown = |name: &String| page.get(name, &[("window", window), ("stat", "mean")]).is_some();
        families.iter().all(shown).then(|| page.clone())
    });
    stop(agent);

    let on_page = families.map(|family| {
        let [minimum, maximum, mean] =
            ["min", "max", "mean"].map(|stat| page.value(&family, &[("window", window), ("stat", stat)]));
        bits(minimum, maximum, mean, 1.0)
    });
    let calls = account.stored();
    let data: Vec<_> = calls.iter().flat_map(|call| &call.metric_data).collect();
    let sent: Vec<(u64, [[u64; 3]; 3])> = windows(data.iter().map(|datum| {
        let set = datum.statistic_values.expect("statistics");
        assert!(set.sample_count > 1.0 || set.minimum == set.maximum, "{set:?}");
        (start(datum), datum.metric_name.as_str(), bits(set.minimum, set.maximum, set.sum, set.sample_count))
    }));
    assert!(calls.len() <= sent.len(), "more requests than periods: {sent:?}");
    let text = std::fs::read_to_string(lines).expect("a file");
    let emf: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let written = windows(emf.iter().flat_map(|line| {
        let begin = line["_aws"]["Timestamp"].as_u64().expect("milliseconds");
        NAMES.into_iter().filter(|name| line.get(name).is_some()).map(move |name| {
            let figure = |what: &str| line[name][what].as_f64().unwrap_or_else(|| panic!("{name} {what}: {line}"));
            (begin, name, bits(figure("Min"), figure("Max"), figure("Sum"), figure("Count")))
        })
    }));
    assert_eq!(written, sent, "EMF is not what CloudWatch got");
    // The page says which window it shows by its figures only; others, not seen from start to end, lie beside it.
    assert_eq!(sent.iter().filter(|(_, figures)| *figures == on_page).count(), 1, "{on_page:?} is not in {sent:?}");
}

const NAMES: [&str; 3] = ["CPUUtilization", "MemoryUtilization", "DiskUtilization"];

/// The figures of each window by its start, in the order of [`NAMES`]; zeros where there are none.
fn windows<'a>(data: impl Iterator<Item = (u64, &'a str, [u64; 3])>) -> Vec<(u64, [[u64; 3]; 3])> {
    let mut windows: BTreeMap<u64, [[u64; 3]; 3]> = BTreeMap::new();
    for (start, name, figures) in data {
        let place = NAMES.iter().position(|known| *known == name).expect("a documented metric");
        let before = std::mem::replace(&mut windows.entry(start).or_default()[place], figures);
        assert_eq!(before, [0; 3], "{name} twice for {start}");
    }
    windows.into_iter().collect()
}
