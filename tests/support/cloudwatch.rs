//! A double of CloudWatch, and agents that publish to it and to nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use hostgauge_cloudwatch_double::{Datum, Double, Options, PutMetricData, Request};

use super::agent::{Agent, hostgauge};
pub(crate) use super::publishing::Ledger;
use super::wait::{SOON, wait_until};

pub(crate) const HOST: &str = "job/algo-1";
pub(crate) const NAMESPACE: &str = "/aws/sagemaker/TrainingJobs";
/// What must never be shown anywhere.
pub(crate) const SECRETS: [&str; 2] = ["secret-key-of-the-tests", "session-token-of-the-tests"];

/// One datum each second. Requests go every ten seconds, and at a stop.
pub(crate) const EACH_SECOND: [&str; 4] = ["--cloudwatch-period", "1s", "--cloudwatch-resolution", "1"];

/// An agent's first request may have to wait for its turn in ten seconds, and on a busy machine for a core.
pub(crate) const A_ROUND: Duration = Duration::from_secs(30);

/// A datum's name, dimensions and start.
pub(crate) type Which = (String, Vec<(String, String)>, u64);

/// An AWS account of the test's own: the service, keys, and a folder that is the agent's home.
pub(crate) struct Account {
    pub double: Double,
    folder: tempfile::TempDir,
}

impl Account {
    pub(crate) fn open() -> Self {
        let double = Double::start(Options::default()).expect("a port");
        Self { double, folder: tempfile::tempdir().expect("a folder") }
    }

    /// A path below the agent's home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary, publishing to the double. What is set here are variables, so that every flag wins over it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = hostgauge(args);
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("AWS_ENDPOINT_URL", self.double.url())
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", "key-of-the-tests")
            .env("AWS_SECRET_ACCESS_KEY", SECRETS[0])
            .env("AWS_SESSION_TOKEN", SECRETS[1])
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("NO_PROXY", "*")
            .env("HOSTGAUGE_PROMETHEUS_LISTEN", "127.0.0.1:0")
            .env("HOSTGAUGE_HOST", HOST)
            .env("HOSTGAUGE_CLOUDWATCH", "true")
            .env("HOSTGAUGE_SPOOL_DIR", self.path("spool"));
        command
    }

    pub(crate) fn start(&self, args: &[&str]) -> Agent {
        Agent::spawn(self.command(args))
    }

    /// The requests that were stored, in their order.
    pub(crate) fn stored(&self) -> Vec<PutMetricData> {
        self.double
            .requests()
            .into_iter()
            .filter(|request| request.stored)
            .filter_map(|request| request.input)
            .collect()
    }

    /// Every datum that was stored, and how often.
    pub(crate) fn copies(&self) -> BTreeMap<Which, u64> {
        let mut copies = BTreeMap::new();
        for datum in self.stored().iter().flat_map(|call| &call.metric_data) {
            *copies.entry((datum.metric_name.clone(), datum.dimensions.clone(), start(datum))).or_default() += 1;
        }
        copies
    }

    /// Waits until the requests so far look as expected.
    pub(crate) fn wait_for<T>(&self, what: &str, seen: impl Fn(&[Request]) -> Option<T>) -> T {
        wait_until(A_ROUND, what, || {
            let requests = self.double.requests();
            seen(&requests).ok_or_else(|| requests.iter().map(|request| request.json() + "\n").collect())
        })
    }
}

/// Lets an agent have samples of everything and stops it. Its log and ledger.
pub(crate) fn stop_after_samples(agent: Agent) -> (String, Ledger) {
    wait_for_samples(&agent);
    stop(agent)
}

pub(crate) fn wait_for_samples(agent: &Agent) {
    agent.wait_for(SOON, "samples of everything", |page| {
        // The file systems' own, as a transform job has no sum of them.
        let names = ["cpu_utilization_percent", "memory_utilization_percent", "filesystem_used_bytes"];
        let seen = |name: &&str| page.all(&format!("hostgauge_{name}")).next().is_some();
        names.iter().all(seen).then_some(())
    });
    agent.next_tick();
}

/// Stops an agent, which must end well.
pub(crate) fn stop(mut agent: Agent) -> (String, Ledger) {
    let (status, _) = agent.stop("TERM");
    let log = agent.log();
    assert_eq!(status.code(), Some(0), "{log}");
    let ledger = Ledger::at_exit(&log);
    (log, ledger)
}

/// When a datum began, in milliseconds since the Unix epoch.
pub(crate) fn start(datum: &Datum) -> u64 {
    (datum.timestamp.expect("every datum says when it began") * 1e3).round() as u64
}

/// The one datum of a metric.
pub(crate) fn datum<'a>(call: &'a PutMetricData, name: &str) -> &'a Datum {
    let mut found = call.metric_data.iter().filter(|datum| datum.metric_name == name);
    let datum = found.next().unwrap_or_else(|| panic!("no {name} in {call:?}"));
    assert!(found.next().is_none(), "several {name} in {call:?}");
    datum
}
