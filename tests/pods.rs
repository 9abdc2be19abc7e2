//! The pods of a machine by its own cgroups, and the task of ECS by a double of its metadata endpoint.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use support::agent::{BINARY, clean, hostgauge, run};
use support::compared::Compared;
use support::group::Group;
use support::task::{LIMIT, Mood, PROXY_USED, SERVER_USED, Task};
use support::wait::SOON;
use support::{Agent, Page};

const CPU: &str = "hostgauge_cpu_utilization_percent";
const SECONDS: &str = "hostgauge_cpu_seconds_total";
const USED: &str = "hostgauge_memory_used_bytes";
const BYTES: &str = "hostgauge_memory_limit_bytes";

/// A pod of this machine, as the kubelet would make it inside a node of kind, with its pause container.
struct Pod {
    // Dropped in this order, the inner ones first.
    containers: Vec<Group>,
    parents: Vec<Group>,
    uid: String,
}

impl Pod {
    /// `None` where groups cannot be made. `digit` tells the pods of this file's tests apart.
    fn make(digit: u32) -> Option<Self> {
        let uid = format!("{digit:08x}-0000-4000-8000-{:012x}", std::process::id());
        let node = format!("/hostgauge-node{digit}-{}", std::process::id());
        let pod = format!("pod{uid}");
        let mut parents = Vec::new();
        let mut path = node;
        parents.push(Group::make(&path)?);
        for name in ["kubelet", "kubepods", "burstable", &pod] {
            path = format!("{path}/{name}");
            parents.push(Group::make(&path).expect("as its parent"));
        }
        parents.reverse();
        Some(Self { containers: Vec::new(), parents, uid })
    }

    fn group(&self) -> &Group {
        &self.parents[0]
    }

    /// The id of a container: no other pod's, as the agent finds a container's processes by it.
    fn id(&self, of: char) -> String {
        format!("{}{}", of.to_string().repeat(32), self.uid.replace('-', ""))
    }

    fn container(&mut self, of: char) -> &Group {
        let group = Group::make(&format!("{}/{}", self.group().path, self.id(of))).expect("as the pod");
        self.containers.push(group);
        self.containers.last().expect("just made")
    }

    /// A process that is called as that of a pause container is.
    fn pause(&mut self, folder: &Path) -> support::load::Killed {
        let binary = folder.join("pause");
        fs::copy("/bin/sleep", &binary).expect("a copy");
        let group = self.container('c');
        group.run(&format!("exec {} 1000", binary.display()))
    }

    fn scope(&self) -> String {
        format!("pod:uid={}", self.uid)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.containers.clear();
        // From the pod upwards.
        self.parents.drain(..).for_each(drop);
    }
}

#[test]
fn a_pod_of_this_machine_reads_as_the_kernel_counts_its_containers() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut pod) = Pod::make(1) else { return };
    pod.group().limit_cpu();
    pod.group().write("memory", "memory.limit_in_bytes", "134217728");
    let _pause = pod.pause(folder.path());
    let load = pod.container('a').run("while :; do :; done");
    let _idle = pod.container('b').run("exec sleep 1000");
    let agent = Agent::start(&["--scope", &pod.scope()]);

    // The pod's own group counts all of its containers, and the pause container does nothing.
    let (cpu, page) = Compared::over(5, &agent, pod.group());
    println!("{}:\n{cpu}", Compared::COLUMNS);
    cpu.assert_within(2.0);
    assert!(cpu.kernel > 5.0, "{cpu}");

    let path = |of| format!("path=\"{}/{}\"", pod.group().path, pod.id(of));
    assert!(page.text.contains(&path('a')) && page.text.contains(&path('b')), "{}", page.text);
    assert!(!page.text.contains(&path('c')), "the pause container is none: {}", page.text);
    assert_eq!((page.value(BYTES, &[]), page.value("hostgauge_cpu_limit_cores", &[])), (134_217_728.0, 0.5));
    assert!(
        page.get("hostgauge_disk_utilization_percent", &[]).is_some(),
        "by its processes: {}\n{}",
        page.text,
        agent.log()
    );

    // It restarts: another id, within the tick under way or the next.
    let seconds = page.value(SECONDS, &[]);
    let ended = pod.id('a');
    pod.containers.retain(|group| !group.path.ends_with(&ended));
    drop(load);
    let _again = pod.container('e').run("while :; do :; done");
    agent.next_tick();
    let online = support::kernel::cores().len() as f64;
    for page in (0..3).map(|_| agent.next_tick()) {
        let path = |of| format!("/{}\"", pod.id(of));
        assert!(page.text.contains(&path('e')) && !page.text.contains(&path('a')), "{}", page.text);
        assert!(page.value(USED, &[]) > 0.0 && page.value(SECONDS, &[]) >= seconds, "{}", page.text);
        assert!(page.get(CPU, &[]).is_none_or(|percent| percent <= 105.0 * online), "a spike: {}", page.text);
    }

    let scope = pod.scope();
    drop(pod);
    agent.wait_for(SOON, "nothing stale of a pod that is gone", |page| {
        (page.get(CPU, &[]).is_none() && page.get(USED, &[]).is_none()).then_some(())
    });
    agent.wait_for_log(&scope);
}

/// A sidecar in a pod whose containers share no processes, beside a mount of the machine's cgroups.
#[test]
fn our_own_pod_is_its_other_containers_without_a_shared_process_namespace() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut pod) = Pod::make(2) else { return };
    let _pause = pod.pause(folder.path());
    let _load = pod.container('a').run("while :; do :; done");
    let script = pod.container('b').enter("exec unshare --pid --fork --kill-child --mount-proc \"$@\"");
    let options = ["--prometheus-listen", "127.0.0.1:0", "--scope", "pod"];
    let agent = Agent::spawn(clean("sh", &[&["-c", &script, "sh", BINARY][..], &options].concat()));
    let path = |of| format!("path=\"{}/{}\"", pod.group().path, pod.id(of));
    // Whose processes cannot be seen is told by what it holds; a busy one is no pause container after a second.
    let page = agent.wait_for(SOON, "the load alone", |page| {
        let is_it = page.text.contains(&path('a')) && !page.text.contains(&path('c'));
        (is_it && page.get(CPU, &[]).is_some_and(|percent| percent > 5.0)).then(|| page.clone())
    });
    assert!(!page.text.contains(&path('b')), "we are none of it: {}", page.text);
    assert!(page.text.contains("mode=\"cgroup\"") && page.get("hostgauge_disk_utilization_percent", &[]).is_none());
}

#[test]
fn check_says_what_a_pod_is_or_what_to_do() {
    let uid = "ffffffff-0000-4000-8000-000000000000";
    let report = |scope: &str| {
        let arguments = ["check", "--gpus", "none", "--host", "x", "--scope", scope];
        let ended = run(&mut hostgauge(&arguments), "");
        (ended.status.code(), ended.stdout)
    };
    let (code, text) = report(&format!("pod:uid={uid}"));
    assert!(code == Some(1) && text.contains(uid) && text.contains("metadata.uid"), "{text}");
    let Some(mut pod) = Pod::make(3) else { return };
    let (_, text) = report(&format!("pod:uid={uid}"));
    assert!(text.contains("pods of this machine has that UID"), "{text}");
    let _load = pod.container('a').run("exec sleep 1000");
    // Its only one could be the pause container, if it cannot be told by its process.
    let (code, text) = report(&pod.scope());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&pod.id('a')) && text.contains("in a mount of the machine's cgroups"), "{text}");
}

/// An agent that sees no process but its own, as in a task without a shared process namespace.
fn in_task(task: &Task, arguments: &[&str]) -> Command {
    let alone = ["--pid", "--fork", "--kill-child", "--mount-proc", BINARY];
    let mut command = clean("unshare", &[&alone[..], arguments].concat());
    command.env("ECS_CONTAINER_METADATA_URI_V4", task.uri());
    command
}

fn agent_in(task: &Task) -> Option<Agent> {
    let trial = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).status();
    // The reason stands on standard error.
    trial.is_ok_and(|status| status.success()).then(|| {
        let options = ["--prometheus-listen", "127.0.0.1:0", "--interval", "500ms", "--scope", "pod", "--gpus", "none"];
        Agent::spawn(in_task(task, &options))
    })
}

/// The whole task: 75 % of a core, and both containers' memory.
fn is_whole(page: &Page) -> Option<Page> {
    let used = page.get(USED, &[]) == Some(SERVER_USED + PROXY_USED);
    (page.get(CPU, &[]) == Some(75.0) && used).then(|| page.clone())
}

#[test]
fn the_task_of_ecs_is_its_other_containers_by_the_endpoints_own_clock() {
    let task = Task::start();
    let Some(agent) = agent_in(&task) else { return };
    let page = agent.wait_for(SOON, "the task", is_whole);
    assert_eq!((page.value(BYTES, &[]), page.value("hostgauge_memory_charged_bytes", &[])), (LIMIT, 90e6));
    assert!(page.value("hostgauge_cpu_limit_cores", &[]) <= 1.5, "{}", page.text);
    let mut names: Vec<&str> = page.all("hostgauge_scope_info").map(|info| info.labels["path"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["proxy", "server"], "{}", page.text);
    assert!(page.text.contains(r#"mode="task""#));
    assert_eq!(page.get("hostgauge_disk_utilization_percent", &[]), None);
    assert_eq!(page.value("hostgauge_collector_success", &[("collector", "disk")]), 0.0);

    // Twice as many ticks as measurements: none is a zero, and none counts twice.
    let (start, before) = (Instant::now(), agent.next_tick().value(SECONDS, &[]));
    let pages: Vec<Page> = (0..8).map(|_| agent.next_tick()).collect();
    assert!(pages.iter().all(|page| page.get(CPU, &[]) == Some(75.0)), "{:?}", pages.last());
    let seconds = pages[7].value(SECONDS, &[]) - before;
    // Whole measurements, of which the first may have come late.
    let measured = seconds / 0.75;
    assert!((measured - measured.round()).abs() < 1e-6, "{seconds}");
    assert!((1.0..=start.elapsed().as_secs_f64() + 1.5).contains(&measured), "{measured} of {:?}", start.elapsed());

    // Its clock is set forwards and back: an interval by it is none.
    for ahead in [3600, 0] {
        task.set_ahead(ahead);
        for page in (0..6).map(|_| agent.next_tick()) {
            assert!(page.get(CPU, &[]).is_none_or(|percent| percent == 75.0), "{}", page.text);
        }
        agent.wait_for(SOON, "the task by its new time", is_whole);
    }

    // Another container in the server's place, which begins at zero.
    task.restart();
    agent.wait_for(SOON, "the new one's first seconds", |page| (page.get(CPU, &[]) != Some(75.0)).then_some(()));
    let after = agent.wait_for(SOON, "the new one", is_whole);
    assert!(after.value(SECONDS, &[]) >= pages[7].value(SECONDS, &[]), "a counter never falls");

    task.be(Mood::Stopped);
    let page = agent.wait_for(SOON, "the server alone", |page| {
        (page.get(CPU, &[]) == Some(50.0) && page.get(USED, &[]) == Some(SERVER_USED)).then(|| page.clone())
    });
    assert!(!page.text.contains("path=\"proxy\""), "{}", page.text);
}

/// What an endpoint does wrong, what becomes of the scope, and the words of the log.
const TROUBLE: [(Mood, &str, &str); 6] = [
    (Mood::Frozen, "timed_out", "nothing new of the container"),
    (Mood::Hanging, "timed_out", "no answer within 1s"),
    (Mood::Failing, "failed", "status \"500\""),
    (Mood::Endless, "failed", "more than 1048576 bytes"),
    (Mood::Garbled, "malformed", "line 1 column"),
    (Mood::Starting, "missing", "nothing of the container proxy"),
];

#[test]
fn an_endpoint_in_trouble_is_a_reason_and_keeps_no_tick_waiting() {
    let task = Task::start();
    let Some(agent) = agent_in(&task) else { return };
    agent.wait_for(SOON, "the task", is_whole);
    for (mood, reason, words) in TROUBLE {
        task.be(mood);
        let labels = [("collector", "scope"), ("reason", reason)];
        let page = agent.wait_for(SOON, &format!("{mood:?}: {reason}"), |page| {
            page.get("hostgauge_collector_failure", &labels).filter(|value| *value == 1.0).map(|_| page.clone())
        });
        assert_eq!((page.get(CPU, &[]), page.get(USED, &[])), (None, None), "{mood:?}: {}", page.text);
        agent.wait_for_log(words);
        // The machine's cores go on beside it: who waited for the endpoint would take a second.
        for page in (0..3).map(|_| agent.next_tick()) {
            assert!(!page.cores().is_empty(), "{mood:?}: {}", page.text);
            let took = page.value("hostgauge_collector_duration_seconds", &[("collector", "scope")]);
            assert!(took < 0.9, "{mood:?}: {took} s");
        }
        task.be(Mood::Well);
        agent.wait_for(SOON, &format!("well after {mood:?}"), is_whole);
    }
}

#[test]
fn once_and_check_ask_the_task_too() {
    let task = Task::start();
    let quiet = ["--scope", "pod", "--gpus", "none"];
    let ended = run(&mut in_task(&task, &[&["once", "--format", "prometheus"][..], &quiet].concat()), "");
    let page = Page::parse(ended.stdout.clone());
    assert_eq!((page.get(CPU, &[]), page.get(USED, &[])), (Some(75.0), Some(SERVER_USED + PROXY_USED)), "{ended:?}");

    let check = || run(&mut in_task(&task, &[&["check"][..], &quiet].concat()), "");
    let ended = check();
    assert!(ended.status.success(), "{ended:?}");
    for words in ["pod: task server, by the task's metadata endpoint", "pidMode: task", "192.0 MiB (Limits of the task"]
    {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    task.be(Mood::Failing);
    let ended = check();
    assert!(ended.status.code() == Some(1) && ended.stdout.contains("status \"500\""), "{ended:?}");
    let mut command = in_task(&task, &[&["check"][..], &quiet].concat());
    let ended = run(command.env("ECS_CONTAINER_METADATA_URI_V4", "http://example.org/v4/x"), "");
    assert!(ended.status.code() == Some(1) && ended.stdout.contains("link-local"), "{ended:?}");
}
