//! The containers of a pod, as a sidecar sees them.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A pod as a sidecar sees it: the pause container, itself, and two more behind their own roots.
fn pod() -> Tree {
    let tree = Tree::v2();
    fs::create_dir_all(tree.folder.path().join("proc/self/ns")).expect("made");
    symlink("pid:[4026532999]", tree.folder.path().join("proc/self/ns/pid")).expect("linked");
    tree.process(1, "pause", "0::/../pause\n");
    tree.process(7, "hostgauge", "0::/slice/job\n");
    for (pid, name, usec) in [(20u32, "train", 5_000_000u64), (30, "proxy", 90_000_000)] {
        tree.process(pid, name, &format!("0::/../{name}\n"));
        let mount = format!("9 1 0:9 /../{name} /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        tree.write(&format!("proc/{pid}/mountinfo"), &mount);
        tree.write(&format!("proc/{pid}/environ"), &format!("A=b\0ROLE={name}-main\0"));
        let file = |name: &str| format!("proc/{pid}/root/sys/fs/cgroup/{name}");
        tree.write(&file("cpu.stat"), &format!("usage_usec {usec}\n"));
        tree.write(&file("memory.current"), "1000\n");
        tree.write(&file("memory.stat"), "anon 500\ninactive_file 400\n");
        tree.write(&file("memory.max"), "2000\n");
    }
    // A second process of the same container, in a cgroup of its own inside.
    tree.process(21, "worker", "0::/../train/inner\n");
    tree.write("proc/21/mountinfo", "9 1 0:9 /../train /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    symlink("../20/root", tree.folder.path().join("proc/21/root")).expect("linked");
    tree
}

fn paths(page: &Page) -> Vec<String> {
    let infos = page.0.iter().filter(|sample| std::ptr::eq(sample.metric, &SCOPE_INFO));
    let path = |sample: &Sample| sample.device.as_ref().and_then(|device| device.values().last().map(str::to_owned));
    infos.filter_map(path).collect()
}

#[test]
fn a_pod_is_its_other_containers() {
    let tree = pod();
    let mut all = tree.scoped(&["pod"]);
    let page = good(&mut all);
    assert_eq!(paths(&page), ["/../train", "/../proxy"]);
    page.assert(&[(&MEMORY_USED, &[], 1200.0), (&MEMORY_LIMIT, &[], 4000.0), (&MEMORY_UTILIZATION, &[], 30.0)]);
    tree.write("proc/20/root/sys/fs/cgroup/cpu.stat", "usage_usec 6000000\n");
    good(&mut all).assert(&[(&CPU_UTILIZATION, &[], 50.0)]);

    for (scope, path) in [
        ("pod:name=tra", "/../train"),
        ("pod:command=pro*y", "/../proxy"),
        ("pod:env=ROLE=train", "/../train"),
        ("pod:busiest", "/../proxy"),
    ] {
        assert_eq!(paths(&good(&mut tree.scoped(&[scope]))), [path], "{scope}");
    }
    let (_, outcome) = collect(&mut tree.scoped(&["pod:name=nobody"]));
    assert!(outcome.expect_err("none").to_string().contains("none of the 3 containers"));
}

#[test]
fn a_container_that_comes_back_in_a_pod_is_found_at_once() {
    let tree = pod();
    let mut scoped = tree.scoped(&["pod:name=train"]);
    good(&mut scoped);
    fs::remove_dir_all(tree.folder.path().join("proc/20")).expect("ended");
    fs::remove_dir_all(tree.folder.path().join("proc/21")).expect("ended");
    let (page, outcome) = collect(&mut scoped);
    assert!(outcome.is_err() && page.get(&MEMORY_USED, &[]).is_none(), "nothing stale");
    tree.process(40, "train", "0::/../train2\n");
    tree.write("proc/40/mountinfo", "9 1 0:9 /../train2 /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    for (name, text) in
        [("cpu.stat", "usage_usec 1\n"), ("memory.current", "50\n"), ("memory.stat", "anon 5\ninactive_file 0\n")]
    {
        tree.write(&format!("proc/40/root/sys/fs/cgroup/{name}"), text);
    }
    let page = good(&mut scoped);
    page.assert(&[(&MEMORY_USED, &[], 50.0)]);
    assert_eq!((paths(&page), page.get(&CPU_UTILIZATION, &[])), (vec!["/../train2".to_owned()], None));
}

#[test]
fn a_neighbour_that_cannot_be_read_is_summed_by_processes_and_says_why() {
    let tree = pod();
    // No cgroup mount of its own: as good as refused, and without needing to be another user.
    tree.write("proc/30/mountinfo", "9 1 0:9 / / rw - overlay overlay rw\n");
    let mut scoped = tree.scoped(&["pod:name=proxy"]);
    let page = good(&mut scoped);
    page.assert(&[
        (&CPU_SECONDS, &[], 1.0),
        (&MEMORY_USED, &[], 40_960.0),
        (&SCOPE_INFO, &["pod:name=proxy", "processes", "v2", "/../proxy"], 1.0),
    ]);
    assert_eq!((page.get(&MEMORY_ANONYMOUS, &[]), page.get(&MEMORY_OOM_KILLS, &[])), (None, None));
    let explanation = scoped.explain();
    let hint = explanation.groups[0].hint.as_ref().expect("a reason");
    assert!(hint.rule.contains("process 30") && hint.remedy.contains("mount"), "{hint:?}");
}

#[test]
fn a_link_in_a_neighbours_root_is_not_followed() {
    let tree = pod();
    let root = tree.folder.path().join("proc/30/root/sys/fs");
    fs::rename(root.join("cgroup"), root.join("real")).expect("moved");
    // Out of its root, into ours.
    symlink(tree.folder.path().join("sys/fs/cgroup/slice/job"), root.join("cgroup")).expect("linked");
    let page = good(&mut tree.scoped(&["pod:name=proxy"]));
    assert_eq!(page.get(&SCOPE_INFO, &["pod:name=proxy", "processes", "v2", "/../proxy"]), Some(1.0));
}

#[test]
fn a_pod_is_not_a_machine() {
    let tree = Tree::v2();
    let (_, outcome) = collect(&mut tree.scoped(&["pod"]));
    assert!(outcome.expect_err("no pod").to_string().contains("shareProcessNamespace"));
}
