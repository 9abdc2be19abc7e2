//! Who the real binary believes to be, on fixture trees of each platform.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::Agent;
use support::agent::{Log, end_of, hostgauge, page_address, run};
use support::http;
use support::load::Killed;
use support::wait::{SOON, wait_until};

const TRAINING: &[(&str, &str)] = &[("TRAINING_JOB_NAME", "bert-large")];

/// The binary on a platform's fixture tree, with these variables and nothing else in its environment.
fn on(tree: &str, variables: &[(&str, &str)], args: &[&str]) -> Command {
    let tree = support::file("fixtures/identity").join(tree);
    let root = Some(tree.join("root")).filter(|root| root.is_dir()).unwrap_or_else(|| tree.clone());
    let mut command = below(&root, variables, args);
    command.arg("--podinfo").arg(tree.join("podinfo"));
    command
}

fn below(root: &Path, variables: &[(&str, &str)], args: &[&str]) -> Command {
    let mut command = hostgauge(args);
    command.arg("--rootfs").arg(root).env_clear().envs(variables.iter().copied());
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

fn printed(mut command: Command) -> String {
    let ended = run(&mut command, "");
    assert!(ended.status.success(), "{ended:?}");
    ended.stdout
}

fn json(command: Command) -> Value {
    let mut command = command;
    command.args(["whoami", "--format", "json"]);
    let text = printed(command);
    serde_json::from_str(&text).expect(&text)
}

fn listening(mut command: Command) -> Agent {
    command.args(["--prometheus-listen", "127.0.0.1:0", "--interval", "100ms"]);
    Agent::spawn(command)
}

#[test]
fn whoami_names_every_source_its_answer_and_what_won() {
    let text = printed(on("training", TRAINING, &["whoami"]));
    assert!(text.starts_with("Host: bert-large/algo-10\n"), "{text}");
    assert!(!text.contains("guessed"), "{text}");
    for words in [
        "job-kind: training (file ",
        "job-name: bert-large (environment TRAINING_JOB_NAME)",
        "instance-number: 10 (file ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(words)), "{words}: {text}");
    }
    let row =
        |place: &str| text.lines().rfind(|line| line.contains(place)).unwrap_or_else(|| panic!("{place}: {text}"));
    assert!(row("opt/ml/input/config/resourceconfig.json").ends_with("used"), "{text}");
    assert!(row("environment TRAINING_JOB_NAME").ends_with("used"), "{text}");
    for place in [
        "option --job-name",
        "opt/ml/config/processingjobconfig.json",
        "SAGEMAKER_BATCH",
        "SM_CURRENT_HOST",
        "sm_training.env",
        "resource_config.json",
        "podinfo/labels",
        "podinfo/annotations",
        "ECS_CONTAINER_METADATA_URI_V4",
        "SLURM_JOB_ID",
        "TORCHELASTIC_RUN_ID",
        "PET_NODE_RANK",
    ] {
        assert!(row(place).contains("- missing"), "{place}: {text}");
    }
    assert!(!row("host name of the system").ends_with("used"), "{text}");
}

#[test]
fn every_platform_gives_its_host() {
    let slurm = [("SLURM_JOB_ID", "4711"), ("SLURM_JOB_NAME", "train"), ("SLURM_NODEID", "9")];
    let torchrun = [("TORCHELASTIC_RUN_ID", "run"), ("GROUP_RANK", "0")];
    for (tree, variables, host, source) in [
        ("training", TRAINING, "bert-large/algo-10", "environment TRAINING_JOB_NAME"),
        ("local-mode", TRAINING, "bert-large/algo-1", "environment TRAINING_JOB_NAME"),
        ("processing", &[], "clean-data/algo-2", "processingjobconfig.json"),
        ("toolkit", &[], "sdk-job/algo-11", "sm_training.env"),
        ("kubeflow-worker", &[], "pytorch-simple/algo-3", "podinfo/labels"),
        ("jobset", &[], "multislice/algo-4", "podinfo/labels"),
        ("trainer-v2", &[], "llama/algo-2", "podinfo/labels"),
        ("indexed-job", &[], "sweep/algo-8", "podinfo/labels"),
        ("stateful-set", &[], "inference/algo-3", "podinfo/labels"),
        ("plain-job", &slurm, "import/algo-10", "podinfo/labels"),
        ("ec2", &slurm, "train-4711/algo-10", "environment SLURM_JOB_ID"),
        ("ec2", &torchrun, "run/algo-1", "environment TORCHELASTIC_RUN_ID"),
    ] {
        let found = json(on(tree, variables, &[]));
        assert_eq!((&found["Host"], &found["guessed"]), (&host.into(), &false.into()), "{tree}: {found:#}");
        let winner = found["figures"]["job_name"]["source"].as_str().expect("a winner");
        assert!(winner.contains(source), "{tree}: {winner}");
    }
}

#[test]
fn a_hyperpod_or_ec2_instance_is_known_by_its_id() {
    let tree = support::file("fixtures/identity");
    for (name, option, folder, id) in
        [("hyperpod", "--procfs", "proc", "i-0fedcba9876543210"), ("ec2", "--sysfs", "sys", "i-0af01c0123456789a")]
    {
        let folder = tree.join(name).join(folder);
        let folder = folder.to_str().expect("UTF-8");
        let found = json(on(name, &[], &[option, folder, "--job-kind", "transform", "--job-name", "batch"]));
        assert_eq!(found["Host"], format!("batch/{id}"), "{found:#}");
    }
}

#[test]
fn a_task_of_ecs_is_asked_for_its_family_and_id() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let uri = format!("http://{}/v4/abc", listener.local_addr().expect("an address"));
    let task = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).expect("a request");
            head.extend(byte);
        }
        let task =
            r#"{"Family": "resnet", "TaskARN": "arn:aws:ecs:us-east-1:1:task/default/9f2c", "Cluster": "default"}"#;
        write!(client, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{task}").expect("written");
        String::from_utf8_lossy(&head).into_owned()
    });
    let found = json(on("ec2", &[("ECS_CONTAINER_METADATA_URI_V4", &uri)], &[]));
    assert_eq!((&found["Host"], &found["guessed"]), (&"resnet/9f2c".into(), &false.into()), "{found:#}");
    assert!(task.join().expect("it answered").starts_with("GET /v4/abc/task HTTP/1.0\r\n"));
}

#[test]
fn an_option_wins_over_what_is_found_each_for_its_own_figure() {
    let variables = [TRAINING, &[("HOSTGAUGE_JOB_NAME", "mine")]].concat();
    for (args, host, source) in [
        (&[][..], "mine/algo-10", "environment HOSTGAUGE_JOB_NAME"),
        (&["--job-name", "other"], "other/algo-10", "flag --job-name"),
        (&["--job-name", "other", "--instance-number", "3"], "other/algo-3", "flag --job-name"),
        (&["--job-kind", "transform", "--instance-id", "i-1"], "mine/i-1", "environment HOSTGAUGE_JOB_NAME"),
        (
            &["--endpoint-name", "e", "--variant-name", "v", "--instance-id", "i-1"],
            "e/v/i-1",
            "environment HOSTGAUGE_JOB_NAME",
        ),
    ] {
        let found = json(on("training", &variables, args));
        assert_eq!(found["Host"], host, "{args:?}: {found:#}");
        assert_eq!(found["figures"]["job_name"]["source"], source, "{args:?}: {found:#}");
        assert_eq!(found["warnings"], Value::Array(vec![]), "an option is meant to differ");
    }
    let found = json(on("training", &variables, &["--endpoint-name", "e", "--variant-name", "v"]));
    assert_eq!(found["job_kind"], "endpoint", "{found:#}");
}

#[test]
fn the_page_carries_the_host_and_says_who_named_it() {
    let agent = listening(on("training", TRAINING, &[]));
    let page = agent.wait_for(SOON, "a sample", |page| page.sum().map(|_| page.clone()));
    assert!(page.series.iter().all(|series| series.labels["Host"] == "bert-large/algo-10"), "{}", page.text);
    let labels = [("kind", "training"), ("source", "sagemaker"), ("guessed", "false")];
    assert_eq!(page.value("hostgauge_identity_info", &labels), 1.0);
    assert!(!agent.log().contains("guessed"), "{}", agent.log());

    let agent = listening(on("ec2", &[], &[]));
    agent.wait_for_log("identity: guessed (the host name, as no source names a job)");
    let labels = [("kind", "training"), ("source", "host_name"), ("guessed", "true")];
    assert_eq!(agent.scrape().value("hostgauge_identity_info", &labels), 1.0);
}

#[test]
fn a_transform_job_has_no_disk_utilization_but_file_systems() {
    let agent = listening(on("ec2", &[("SAGEMAKER_BATCH", "True")], &["--job-name", "score", "--instance-id", "i-1"]));
    let used = "hostgauge_filesystem_used_bytes";
    let page = agent.wait_for(SOON, "a file system", |page| page.get(used, &[]).map(|_| page.clone()));
    assert!(page.series.iter().all(|series| series.labels["Host"] == "score/i-1"), "{}", page.text);
    assert_eq!(page.get("hostgauge_disk_utilization_percent", &[]), None);
    assert_eq!(page.value("hostgauge_identity_info", &[("kind", "transform")]), 1.0);
    let agent = listening(on("ec2", &[], &[]));
    agent.wait_for(SOON, "it otherwise", |page| page.get("hostgauge_disk_utilization_percent", &[]));
}

fn copy(tree: &str, path: &str, root: &Path) -> (PathBuf, PathBuf) {
    let file = root.join(path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    let whole = root.join("whole");
    std::fs::copy(support::file("fixtures/identity").join(tree).join("root").join(path), &whole).expect("copied");
    (whole, file)
}

#[test]
fn a_file_that_appears_after_the_start_is_waited_for() {
    let root = tempfile::tempdir().expect("a folder");
    let (whole, file) = copy("training", "opt/ml/input/config/resourceconfig.json", root.path());
    // What is there at first is half of it, as a writer leaves it.
    std::fs::write(&file, "{\"current_host\": \"algo-1").expect("written");
    let args = ["--prometheus-listen", "127.0.0.1:0", "--interval", "100ms"];
    let mut command = below(root.path(), TRAINING, &args);
    let mut child = Killed(command.stderr(Stdio::piped()).spawn().expect("the agent starts"));
    let log = Log::follow(child.0.stderr.take().expect("a pipe"));
    wait_until(SOON, "it waits", || {
        let text = log.text();
        if text.contains("waiting up to 5s for") { Ok(()) } else { Err(text) }
    });
    std::fs::rename(&whole, &file).expect("moved");
    let address = wait_until(SOON, "the page's address", || page_address(&log.text()).ok_or_else(|| log.text()));
    assert!(log.text().contains("as Host bert-large/algo-10 every"), "{}", log.text());
    let page = http::request(address, "GET", "/metrics", &[]).expect("a page").text();
    assert!(page.contains("{Host=\"bert-large/algo-10\""), "{page}");
    assert!(!log.text().contains("WARN"), "{}", log.text());
}

#[test]
fn a_file_that_never_appears_costs_a_few_seconds_and_is_said() {
    let root = tempfile::tempdir().expect("a folder");
    let agent = listening(below(root.path(), TRAINING, &[]));
    agent.wait_for_log("resourceconfig.json is not there (or not whole) after 5s: going on without it");
    agent.wait_for_log("identity: guessed (instance number 1, as no source has a number or an id)");
    let labels = [("source", "sagemaker"), ("guessed", "true"), ("Host", "bert-large/algo-1")];
    assert_eq!(agent.scrape().value("hostgauge_identity_info", &labels), 1.0);
}

#[test]
fn a_signal_while_it_waits_ends_it_cleanly() {
    let root = tempfile::tempdir().expect("a folder");
    let mut command = below(root.path(), TRAINING, &["--prometheus-listen", "127.0.0.1:0"]);
    let mut child = Killed(command.stderr(Stdio::piped()).spawn().expect("the agent starts"));
    let log = Log::follow(child.0.stderr.take().expect("a pipe"));
    wait_until(SOON, "it waits", || if log.text().contains("waiting up to") { Ok(()) } else { Err(log.text()) });
    let killed = Command::new("kill").args(["-TERM", &child.0.id().to_string()]).status().expect("kill starts");
    assert!(killed.success());
    let status = end_of(&mut child.0, "the end after SIGTERM");
    assert!(status.success(), "{status}: {}", log.whole());
}

#[test]
fn sources_that_contradict_each_other_are_both_named() {
    let variables = [TRAINING, &[("SM_CURRENT_HOST", "algo-2"), ("SM_CURRENT_HOST_RANK", "1")]].concat();
    let warning = |text: &str| {
        let words = ["instance-number", "resourceconfig.json says \"10\"", "environment SM_CURRENT_HOST says \"2\""];
        text.lines().any(|line| words.iter().all(|words| line.contains(words)))
    };
    let text = printed(on("training", &variables, &["whoami"]));
    assert!(text.starts_with("Host: bert-large/algo-10\nj") && warning(&text), "{text}");
    let agent = listening(on("training", &variables, &[]));
    assert!(warning(&agent.log()), "{}", agent.log());
}

#[test]
fn bad_files_and_variables_are_named_and_cost_only_their_own_answer() {
    let path = "opt/ml/input/config/resourceconfig.json";
    let huge = format!("{{\"hosts\": [\"{}\"]}}", "x".repeat(1 << 20));
    for (text, said) in [
        (&b"{\"current_host\": algo-1}"[..], "malformed: expected value at line 1 column 18"),
        (b"\xff\xfe", "malformed: no UTF-8 at byte 0"),
        (huge.as_bytes(), "malformed: more than 1048576 bytes"),
        (b"{\"current_host\": \"algo-0\"}", "current_host \"algo-0\", expected algo-N"),
        (b"{\"current_host\": 3}", "current_host is something else, expected a text"),
        (b"{}", "no current_host"),
    ] {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join(path).parent().expect("a folder")).expect("a folder");
        std::fs::write(root.path().join(path), text).expect("written");
        // The number is said, so that nothing is waited for.
        let args = ["--job-kind", "training", "--job-name", "j", "--instance-number", "2"];
        let found = json(below(root.path(), &[], &args));
        assert_eq!(found["Host"], "j/algo-2", "{found:#}");
        let warning = found["warnings"][0].as_str().expect("a warning");
        assert!(warning.contains(path) && warning.contains(said), "{said}: {warning}");
    }
    // A folder where a file should be: what cannot be read.
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(root.path().join(path)).expect("a folder");
    let found = json(below(root.path(), &[("TRAINING_JOB_NAME", "a\u{1b}[2Jb")], &[]));
    assert_eq!((&found["guessed"], &found["figures"]["job_name"]), (&true.into(), &Value::Null), "{found:#}");
    let warnings = found["warnings"].to_string();
    assert!(warnings.contains("resourceconfig.json: cannot be read"), "{warnings}");
    assert!(warnings.contains("environment TRAINING_JOB_NAME: malformed"), "{warnings}");
    assert!(!printed(below(root.path(), &[("TRAINING_JOB_NAME", "a\u{1b}[2Jb")], &["whoami"])).contains('\u{1b}'));
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (args, words) in [
        (&["--instance-number", "0"][..], &["instance-number \"0\"", "a whole number from 1 on"][..]),
        (&["--instance-number", "algo-1"], &["instance-number", "a whole number"]),
        (&["--job-name", " "], &["job-name \" \"", "expected"]),
        (&["--instance-id", "a\u{7}"], &["instance-id", "control characters"]),
        (&["--endpoint-name", "e"], &["endpoint-name and variant-name", "both, or neither"]),
        (&["--job-name", &"j".repeat(1020)], &["host", "1024"]),
    ] {
        let ended = run(on("ec2", &[], args).args(["--prometheus-listen", "127.0.0.1:0"]), "");
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(words.iter().all(|words| ended.stderr.contains(words)), "{words:?}: {}", ended.stderr);
    }
}

#[test]
fn no_secret_is_printed() {
    let env = r#"{"job_name": "j", "current_host": "algo-1", "hyperparameters": {"token": "s3cret-variable"}}"#;
    for tree in ["training", "processing", "toolkit", "indexed-job"] {
        for args in [&["whoami"][..], &["whoami", "--format", "json"]] {
            let mut command = on(tree, &[("SM_TRAINING_ENV", env), ("SM_HPS", "s3cret-hps")], args);
            command.args(["--job-kind", "training", "--job-name", "j", "--instance-number", "1"]);
            let ended = run(&mut command, "");
            assert!(ended.status.success(), "{ended:?}");
            assert!(!ended.stdout.contains("s3cret") && !ended.stderr.contains("s3cret"), "{tree}: {ended:?}");
        }
    }
}

#[cfg(feature = "cloudwatch")]
mod publishing {
    use super::*;

    const REHEARSAL: [&str; 9] = [
        "--dry-run",
        "--cloudwatch-period",
        "1s",
        "--cloudwatch-resolution",
        "1",
        "--interval",
        "100ms",
        "--prometheus-listen",
        "off",
    ];

    fn rehearsal(tree: &str, variables: &[(&str, &str)], args: &[&str]) -> Command {
        let mut command =
            on(tree, &[variables, &[("AWS_REGION", "eu-central-1"), ("HOME", "/nonexistent")]].concat(), args);
        command.args(REHEARSAL);
        command
    }

    /// The first request that would be sent.
    fn request(mut command: Command) -> Value {
        let mut child =
            Killed(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the agent starts"));
        let out = Log::follow(child.0.stdout.take().expect("a pipe"));
        let log = Log::follow(child.0.stderr.take().expect("a pipe"));
        let line = wait_until(SOON, "a request", || {
            let text = out.text();
            let line = text.split_inclusive('\n').find(|line| line.ends_with('\n')).map(str::to_owned);
            line.ok_or_else(|| log.text())
        });
        serde_json::from_str::<Value>(&line).expect(&line)["PutMetricData"].take()
    }

    #[test]
    fn namespace_and_dimensions_follow_from_the_identity() {
        let host = |name: &str| serde_json::json!([{ "Name": "Host", "Value": name }]);
        let endpoint = serde_json::json!([
            { "Name": "EndpointName", "Value": "e" }, { "Name": "VariantName", "Value": "AllTraffic" }
        ]);
        let names = ["--endpoint-name", "e", "--variant-name", "AllTraffic"];
        let batch = [("SAGEMAKER_BATCH", "true")];
        let port = [("SAGEMAKER_BIND_TO_PORT", "8080")];
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str], &'a str, &'a Value);
        let cases: [Case<'_>; 6] = [
            ("training", TRAINING, &[], "hostgauge/TrainingJobs", &host("bert-large/algo-10")),
            ("processing", &[], &[], "hostgauge/ProcessingJobs", &host("clean-data/algo-2")),
            ("ec2", &batch, &["--job-name", "b", "--instance-id", "i-1"], "hostgauge/TransformJobs", &host("b/i-1")),
            ("ec2", &port, &names, "hostgauge/Endpoints", &endpoint),
            ("ec2", &[], &names, "/aws/sagemaker/Endpoints", &endpoint),
            ("jobset", &[], &[], "/aws/sagemaker/TrainingJobs", &host("multislice/algo-4")),
        ];
        // At once, since requests keep their distance.
        std::thread::scope(|scope| {
            for (tree, variables, args, namespace, dimensions) in cases {
                scope.spawn(move || {
                    let request = request(rehearsal(tree, variables, args));
                    assert_eq!(request["Namespace"], namespace, "{tree}");
                    let data = request["MetricData"].as_array().expect("data");
                    assert!(data.iter().all(|datum| datum["Dimensions"] == *dimensions), "{tree}: {request:#}");
                    let no_disk = data.iter().all(|datum| datum["MetricName"] != "DiskUtilization");
                    assert!(no_disk || namespace != "hostgauge/TransformJobs", "{request:#}");
                });
            }
        });
    }

    #[test]
    fn what_cloudwatch_would_refuse_is_refused_at_the_start_and_never_changed() {
        let job = ("TRAINING_JOB_NAME", "caf\u{e9}");
        let port = ("SAGEMAKER_BIND_TO_PORT", "8080");
        for (tree, variables, words) in [
            ("training", job, &["Host", "caf\u{e9}/algo-10", "ASCII"][..]),
            (
                "ec2",
                port,
                &["host of an endpoint (environment SAGEMAKER_BIND_TO_PORT", "endpoint-name and variant-name"],
            ),
        ] {
            let ended = run(&mut rehearsal(tree, &[variables], &[]), "");
            assert_eq!(ended.status.code(), Some(2), "{ended:?}");
            assert!(words.iter().all(|words| ended.stderr.contains(words)), "{words:?}: {}", ended.stderr);
        }
        let agent = listening(on("training", &[job], &[]));
        let labels = [("Host", "caf\u{e9}/algo-10")];
        assert_eq!(agent.scrape().value("hostgauge_identity_info", &labels), 1.0, "Prometheus takes whatever is text");
    }
}
