use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Three containers of a task: the network's, ours, and a server under version 1.
fn task(server: Value) -> [String; 2] {
    let container = |id: &str, name: &str, kind: &str| {
        let limits = json!({"CPU": 512});
        json!({"DockerId": id, "Name": name, "Type": kind, "KnownStatus": "RUNNING", "Limits": limits})
    };
    let mut of_server = container("c", "server", "NORMAL");
    of_server["Limits"] = json!({"CPU": 512, "Memory": 1024});
    let metadata = json!({
        "Family": "inference",
        "Limits": {"CPU": 1.5, "Memory": 3072},
        "Containers": [container("a", "~internal~ecs~pause", "CNI_PAUSE"), container("b", "us", "NORMAL"), of_server],
    });
    [metadata.to_string(), json!({"a": null, "b": null, "c": server}).to_string()]
}

fn server() -> Value {
    json!({
        "read": "2026-11-23T00:00:10.5Z",
        "preread": "2026-11-23T00:00:09.25Z",
        "cpu_stats": {
            "cpu_usage": {"total_usage": 9_000_000_000_u64, "percpu_usage": [1, 2]},
            "online_cpus": 2,
            "throttling_data": {"periods": 10, "throttled_periods": 4, "throttled_time": 700},
        },
        "precpu_stats": {"cpu_usage": {"total_usage": 8_000_000_000_u64}},
        "memory_stats": {
            "usage": 1000, "limit": 9_223_372_036_854_771_712_u64,
            "stats": {"inactive_file": 1, "total_inactive_file": 300, "total_rss": 500},
        },
        "blkio_stats": {"io_service_bytes_recursive": [
            {"op": "Read", "value": 7}, {"op": "Write", "value": 8}, {"op": "Total", "value": 15},
            {"op": "read", "value": 1},
        ]},
    })
}

fn understood(server: Value) -> Result<Vec<Statistics>, CollectError> {
    let [metadata, statistics] = task(server);
    interpret(&metadata, &statistics, "b")
}

#[test]
fn the_others_of_a_task_are_understood_with_all_that_bounds_them() {
    let all = understood(server()).expect("a good task");
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((one.id.as_str(), one.name.as_str()), ("c", "server"));
    let read = one.read;
    assert_eq!(one.before, Some((read - 1_250_000_000, 8_000_000_000)));
    let mut expected =
        Reading { usage: Some(1000), inactive_file: Some(300), anonymous: Some(500), ..Reading::default() };
    for (counter, value) in [
        (CPU_NANOSECONDS, 9_000_000_000),
        (PERIODS, 10),
        (THROTTLED_PERIODS, 4),
        (THROTTLED_NANOSECONDS, 700),
        (READ_BYTES, 8),
        (WRITTEN_BYTES, 8),
    ] {
        expected.counters[counter] = Some(value);
    }
    assert_eq!(one.reading, expected);
    let limits: Vec<Limit> = one.limits.iter().map(|(_, limit)| *limit).collect();
    // A container's CPU units are a share among the others, and so no limit.
    let memory = Limit::Bytes(9_223_372_036_854_771_712);
    assert_eq!(limits, [Limit::Cores(2.0), memory, Limit::Bytes(1 << 30), Limit::Cores(1.5), Limit::Bytes(3 << 30)]);
}

#[test]
fn version_2_names_the_same_otherwise() {
    let mut server = server();
    server["memory_stats"] = json!({"usage": 1000, "stats": {"inactive_file": 300, "anon": 500}});
    let all = understood(server).expect("a good task");
    assert_eq!((all[0].reading.inactive_file, all[0].reading.anonymous), (Some(300), Some(500)));
}

#[test]
fn what_is_unknown_of_one_that_runs_is_an_error_that_names_it() {
    let error = understood(Value::Null).expect_err("nothing of the server");
    assert!(error.reason() == Reason::Missing && error.to_string().contains("server"), "{error}");
    for path in ["/read", "/cpu_stats/cpu_usage/total_usage", "/memory_stats/usage", "/memory_stats/stats"] {
        for bad in [Value::Null, json!("x"), json!(-1)] {
            let mut server = server();
            *server.pointer_mut(path).expect("there") = bad;
            let error = understood(server).expect_err(path);
            assert!(error.reason() == Reason::Malformed && error.to_string().contains("expected"), "{error}");
        }
    }
    for bad in ["", "[]", "{}", "{\"Containers\": [{}]}", "{\"Containers\": {}}"] {
        assert!(interpret(bad, "{}", "b").is_err(), "{bad}");
    }
    assert_eq!(own_id("{\"DockerId\": \"b\"}"), Ok("b".to_owned()));
    assert!(own_id("{}").is_err() && own_id("x").is_err());
}

#[test]
fn what_has_not_begun_or_has_stopped_is_no_container() {
    let [metadata, statistics] = task(Value::Null);
    for status in ["PULLED", "CREATED", "STOPPED", "NONE"] {
        let metadata = metadata.replace("RUNNING", status);
        assert_eq!(interpret(&metadata, &statistics, "b"), Ok(Vec::new()), "{status}");
    }
}

#[test]
fn a_first_measurement_has_none_before_it() {
    let mut first = server();
    first["preread"] = json!("0001-01-01T00:00:00Z");
    first["precpu_stats"] = json!({"cpu_usage": {"total_usage": 0}});
    assert_eq!(understood(first).expect("good")[0].before, None);
    let mut restarted = server();
    restarted["cpu_stats"]["cpu_usage"]["total_usage"] = json!(5);
    assert_eq!(understood(restarted).expect("good")[0].before, None);
}

#[test]
fn times_are_nanoseconds_since_1970() {
    for (text, seconds, fraction) in [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("2000-02-29T12:00:00Z", 951_825_600, 0),
        ("2000-02-29T12:00:00.000000001Z", 951_825_600, 1),
        ("2024-12-31T23:59:59.5+01:00", 1_735_685_999, 500_000_000),
        ("2024-12-31T23:59:59-00:30", 1_735_691_399, 0),
    ] {
        assert_eq!(nanoseconds(text), Some(seconds * 1_000_000_000 + fraction), "{text}");
    }
    for bad in [
        "",
        "now",
        "2024-13-01T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00+1",
        "0001-01-01T00:00:00Z",
        "2024-01-01T00:00:00.1234567890Z",
        "-2024-01-01T00:00:00Z",
    ] {
        assert_eq!(nanoseconds(bad), None, "{bad}");
    }
}

proptest! {
    // Whatever stands in the place of any value: an answer or an error.
    #[test]
    fn no_answer_panics(text in ".{0,60}", number in any::<f64>(), which in 0..9usize) {
        let paths = ["/read", "/preread", "/cpu_stats", "/cpu_stats/online_cpus", "/cpu_stats/cpu_usage/total_usage",
            "/memory_stats", "/memory_stats/limit", "/blkio_stats/io_service_bytes_recursive", "/precpu_stats"];
        for bad in [json!(text), json!(number), json!([text, number]), json!({"a": number})] {
            let mut server = server();
            *server.pointer_mut(paths[which]).expect("there") = bad;
            let _ = understood(server);
        }
        let _ = (interpret(&text, &text, ""), own_id(&text), nanoseconds(&text));
    }

    // A later second is a later number.
    #[test]
    fn times_are_in_order(year in 1970u32..2500, month in 1u32..=12, day in 1u32..=28, second in 0u32..59) {
        let text = |second: u32| format!("{year}-{month:02}-{day:02}T07:08:{second:02}.25Z");
        let at = |second: u32| nanoseconds(&text(second)).expect("legal");
        prop_assert_eq!(at(second + 1) - at(second), 1_000_000_000);
        let next = nanoseconds(&format!("{year}-{month:02}-{:02}T07:08:00.25Z", day + 1));
        prop_assert!(next.is_some_and(|next| next - at(0) == 86_400_000_000_000));
    }
}
