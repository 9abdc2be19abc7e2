use super::*;

fn set(name: &str, text: &str) -> Option<Values> {
    let option = OPTIONS.iter().find(|option| option.name == name).expect("an option");
    let mut values = Values::default();
    (option.set)(&mut values, text).map(|()| values)
}

#[test]
fn every_default_is_a_good_value() {
    for option in OPTIONS.iter().filter(|option| !option.default.is_empty()) {
        assert!(set(option.name, option.default).is_some(), "{} {}", option.name, option.default);
    }
}

#[test]
fn bad_values_are_refused() {
    for (name, bad) in [
        ("interval", &["0", "0s", "1ms", "99ms", "61s", "-1s", "1", "fast", ""][..]),
        ("scope", &["", "Host", "pid:0", "cgroup:../a", "pod:colour=red"]),
        ("disk-path", &["", "data", "/a\nb"]),
        ("gpus", &["", "some", "0,", "-1", "GPU-", "all,0"]),
        ("gpu-processes", &["", "on", "Process", "containers"]),
        ("nvml-library", &["", "libnvidia-ml.so.1"]),
        ("gpu-sum", &["", "Strict", "some"]),
        ("prometheus-listen", &["", "9871", "example.org:80", "127.0.0.1", "127.0.0.1:99999", "Off"]),
        ("history", &["", "0s", "500ms", "61m", "15", "Off"]),
        ("host", &["", " ", "a\nb"]),
        ("procfs", &["/no/such/folder", "/etc/passwd"]),
        ("log-format", &["xml", ""]),
        ("job-kind", &["", "Training", "notebook"]),
        ("job-name", &["", " ", "a\nb"]),
        ("instance-number", &["", "0", "-1", "1.5", "4294967296", "algo-1"]),
        ("instance-id", &["", "a\u{7}"]),
        ("podinfo", &["", "podinfo"]),
        ("cloudwatch", &["", "yes", "1"]),
        ("cloudwatch-period", &["", "0s", "7s", "45s", "90s", "1500ms", "100ms", "10m", "60"]),
        ("cloudwatch-resolution", &["", "30", "1s"]),
        ("cloudwatch-statistics", &["", "mean"]),
        ("cloudwatch-metric", &["", "a b", "caf\u{e9}"]),
        ("endpoint-name", &["", " ", "caf\u{e9}"]),
        ("spool-dir", &["", "spool"]),
        ("spool-max-bytes", &["", "0", "1023KiB", "64MB", "-1", "99999999999GiB"]),
        ("emf", &["", "lines.json"]),
        ("shutdown-timeout", &["", "11m", "-1s"]),
    ] {
        for text in bad {
            assert_eq!(set(name, text), None, "{name} {text:?}");
        }
    }
}

#[test]
fn good_values_are_taken() {
    for (text, millis) in [("100ms", 100), ("1s", 1000), ("1m", 60_000), ("60s", 60_000)] {
        assert_eq!(set("interval", text).expect(text).interval, Duration::from_millis(millis));
    }
    for (text, address) in [
        ("localhost:80", "127.0.0.1:80"),
        (":9871", "0.0.0.0:9871"),
        ("[::1]:0", "[::1]:0"),
        ("10.0.0.1:9871", "10.0.0.1:9871"),
    ] {
        assert_eq!(set("prometheus-listen", text).expect(text).listen, address.parse().ok());
    }
    assert_eq!(set("prometheus-listen", "off").expect("off").listen, None);
    for (text, seconds) in [("off", 0), ("1s", 1), ("15m", 900), ("1h", 3600)] {
        assert_eq!(set("history", text).expect(text).history, Duration::from_secs(seconds));
    }
    for (text, seconds) in [("1s", 1), ("12s", 12), ("60s", 60), ("1m", 60), ("2m", 120), ("5m", 300)] {
        assert_eq!(set("cloudwatch-period", text).expect(text).period, Duration::from_secs(seconds));
    }
    for (text, bytes) in [("1048576", 1 << 20), ("64MiB", 64 << 20), ("2 GiB", 2 << 30), ("2048KiB", 2 << 20)] {
        assert_eq!(set("spool-max-bytes", text).expect(text).spool_max_bytes, bytes);
    }
    assert_eq!(set("spool-dir", "off").expect("off").spool_folder, Some(Spool::Off));
    assert_eq!(set("emf", "stdout").expect("stdout").emf, Some(Emf::Stdout));
}
