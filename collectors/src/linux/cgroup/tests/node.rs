//! The pods of a node, as an agent sees them that has the machine's cgroups mounted.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const UID: &str = "8fb8cf5b-a18e-4d6e-9e1e-0a6f5e0f7c11";
const OTHER: &str = "11111111-2222-3333-4444-555555555555";

fn id(of: char) -> String {
    of.to_string().repeat(64)
}

/// A pod's folder as driver systemd names it.
fn slice(uid: &str) -> String {
    format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice", uid.replace('-', "_"))
}

/// A node under version 2, of which we are another pod: two containers and a pause container, whose processes the
/// mounted procfs shows.
fn node(prefix: &str) -> Tree {
    let tree = Tree::new("9 1 0:9 /../../.. /host/sys/fs/cgroup ro - cgroup2 cgroup2 rw\n", "0::/\n");
    symlink("pid:[4026532999]", {
        tree.write("proc/self/ns/x", "");
        tree.folder.path().join("proc/self/ns/pid")
    })
    .expect("linked");
    // The mount lies below our sysfs, as in a daemon.
    let point = tree.folder.path().join("sys/fs/cgroup");
    tree.write("proc/self/mountinfo", &format!("9 1 0:9 /../../.. {} ro - cgroup2 cgroup2 rw\n", point.display()));
    tree.write("proc/self/status", "Name:\thostgauge\nNSpid:\t4711\t1\n");
    let pod = format!("{prefix}{}", slice(UID));
    for (container, name, usec) in [('a', "train", 0), ('b', "proxy", 0), ('c', "pause", 0)] {
        let group = format!("{pod}/cri-containerd-{}.scope", id(container));
        tree.group_v2(&group, usec, 400_000, 100_000);
        tree.process(u32::from(container), name, &format!("0::/../../../{group}\n"));
    }
    tree.write(&format!("sys/fs/cgroup/{pod}/memory.max"), "500000\n");
    tree.write(&format!("sys/fs/cgroup/{pod}/cpu.max"), "150000 100000\n");
    tree.group_v2(&format!("{prefix}{}/cri-containerd-{}.scope", slice(OTHER), id('d')), 0, 900_000, 0);
    tree
}

fn scope(uid: &str) -> String {
    format!("pod:uid={uid}")
}

/// The share of a core since two seconds ago, or a little longer on a busy machine.
fn assert_share(page: &Page, at_most: f64) {
    let share = page.get(&CPU_UTILIZATION, &[]).expect("a share");
    assert!(share <= at_most * 1.001 && share > at_most / 4.0, "{share}, not {at_most}");
}

fn paths(page: &Page) -> Vec<String> {
    let infos = page.0.iter().filter(|sample| std::ptr::eq(sample.metric, &SCOPE_INFO));
    infos.filter_map(|one| one.device.as_ref()?.values().last().map(str::to_owned)).collect()
}

#[test]
fn a_pod_by_its_uid_is_its_containers_without_the_pause_container() {
    // As a node has it, and inside what holds a node of kind, which is seen from the machine.
    for prefix in ["", "kubelet.slice/", "system.slice/docker-x.scope/kubelet/"] {
        let tree = node(prefix);
        let mut scoped = tree.scoped(&[&scope(UID)]);
        let page = good(&mut scoped);
        let path = |of| format!("/{prefix}{}/cri-containerd-{}.scope", slice(UID), id(of));
        assert_eq!(paths(&page), [path('a'), path('b')], "{prefix}");
        // The pod's own limits bound both together, though neither container has one.
        page.assert(&[(&MEMORY_USED, &[], 600_000.0), (&MEMORY_LIMIT, &[], 500_000.0), (&CPU_LIMIT, &[], 1.5)]);
        tree.usage(&path('a')[1..], 1_000_000);
        assert_share(&good(&mut scoped), 50.0);

        let explanation = tree.scoped(&[&scope(UID)]).explain();
        let group = &explanation.groups[0];
        assert_eq!(group.how, Some("in a mount of the machine's cgroups"));
        let root = tree.folder.path().join("proc").join(u32::from('a').to_string()).join("root");
        assert_eq!(group.root.as_deref(), Some(root.as_path()), "its file systems, by its process");
        let memory = explanation.memory.expect("a limit");
        assert!(memory.value == 500_000.0 && memory.from.ends_with(".slice/memory.max"), "{memory:?}");
    }
}

#[test]
fn driver_cgroupfs_and_version_1() {
    let tree = node("");
    let mounts: String = ["cpu,cpuacct", "memory", "cpuset", "blkio"]
        .map(|name| {
            let point = tree.folder.path().join("sys/fs/cgroup").join(name);
            format!("9 1 0:9 / {} ro - cgroup cgroup rw,{name}\n", point.display())
        })
        .concat();
    tree.write("proc/self/mountinfo", &mounts);
    for (container, bytes) in [('a', 400_000), ('b', 300_000)] {
        let file = |controller: &str, name: &str| {
            format!("sys/fs/cgroup/{controller}/kubepods/besteffort/pod{UID}/{}/{name}", id(container))
        };
        tree.write(&file("cpu,cpuacct", "cpuacct.usage"), "0\n");
        tree.write(&file("memory", "memory.usage_in_bytes"), &format!("{bytes}\n"));
        tree.write(&file("memory", "memory.stat"), "total_rss 1\ntotal_inactive_file 0\n");
        tree.process(u32::from(container), "x", &format!("4:memory:/kubepods/besteffort/pod{UID}/{}\n", id(container)));
    }
    let file = format!("sys/fs/cgroup/memory/kubepods/besteffort/pod{UID}/memory.limit_in_bytes");
    tree.write(&file, "800000\n");
    let page = good(&mut tree.scoped(&[&scope(UID)]));
    page.assert(&[(&MEMORY_USED, &[], 700_000.0), (&MEMORY_LIMIT, &[], 800_000.0)]);
    assert_eq!(paths(&page)[0], format!("/kubepods/besteffort/pod{UID}/{}", id('a')));
}

#[test]
fn a_container_that_comes_back_is_another_within_the_tick() {
    let tree = node("");
    let mut scoped = tree.scoped(&[&scope(UID)]);
    good(&mut scoped);
    let group = |of| format!("{}/cri-containerd-{}.scope", slice(UID), id(of));
    tree.usage(&group('a'), 1_000_000);
    let before = good(&mut scoped);
    assert_share(&before, 50.0);
    // The kernel fails the files of a group that is gone; here its folder is.
    fs::remove_dir_all(tree.folder.path().join("sys/fs/cgroup").join(group('a'))).expect("ended");
    fs::remove_dir_all(tree.folder.path().join("proc").join(u32::from('a').to_string())).expect("ended");
    tree.group_v2(&group('e'), 90_000_000, 50_000, 0);
    tree.process(u32::from('e'), "train", &format!("0::/../../../{}\n", group('e')));
    let page = good(&mut scoped);
    page.assert(&[(&MEMORY_USED, &[], 350_000.0)]);
    assert_eq!(page.get(&CPU_UTILIZATION, &[]), None, "no base yet, and so no spike");
    assert_eq!(page.get(&CPU_SECONDS, &[]), before.get(&CPU_SECONDS, &[]), "what it used before is not ours");
    tree.usage(&group('e'), 90_500_000);
    assert_share(&good(&mut scoped), 25.0);

    fs::remove_dir_all(tree.folder.path().join("sys/fs/cgroup").join(slice(UID))).expect("deleted");
    let (page, outcome) = collect(&mut scoped);
    let error = outcome.expect_err("no pod");
    assert!(error.reason() == Reason::Missing && error.to_string().contains("none of the 1 pods"), "{error}");
    assert_eq!((page.get(&MEMORY_USED, &[]), paths(&page)), (None, Vec::new()), "nothing stale");
}

#[test]
fn our_own_pod_is_its_other_containers_by_a_mount_and_needs_no_processes() {
    let tree = node("");
    for process in ["97", "98", "99"] {
        fs::remove_dir_all(tree.folder.path().join("proc").join(process)).expect("not seen");
    }
    let point = tree.folder.path().join("sys/fs/cgroup");
    let own = tree.folder.path().join("own");
    symlink(point.join(slice(UID)).join(format!("cri-containerd-{}.scope", id('b'))), &own).expect("linked");
    // A private namespace hides our path, but not the number of our folder; the kubelet's files have the pod's UID.
    let mountinfo = format!(
        "9 1 0:9 / {} ro - cgroup2 cgroup2 rw\n10 1 0:9 /../../.. {} ro - cgroup2 cgroup2 rw\n\
         11 1 8:1 /var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n",
        own.display(),
        point.display()
    );
    tree.write("proc/self/mountinfo", &mountinfo);
    let group = |of| format!("{}/cri-containerd-{}.scope", slice(UID), id(of));
    let path = |of| format!("/{}", group(of));
    // Both that are left are small: the smaller is taken for the pause container.
    tree.group_v2(&group('a'), 0, 500_000, 0);
    let mut scoped = tree.scoped(&["pod"]);
    assert_eq!(paths(&good(&mut scoped)), [path('a')]);
    // One that is busy is no pause container.
    tree.usage(&group('c'), 2_000_000);
    assert_eq!(paths(&good(&mut tree.scoped(&["pod"]))), [path('c')]);
    tree.group_v2(&group('a'), 0, 50_000_000, 0);
    assert_eq!(paths(&good(&mut tree.scoped(&["pod"]))), [path('a'), path('c')]);

    let (_, outcome) = collect(&mut tree.scoped(&["pod:name=train"]));
    assert!(outcome.expect_err("unseen").to_string().contains("shareProcessNamespace"));
    tree.process(97, "train", &format!("0::/../cri-containerd-{}.scope\n", id('a')));
    assert_eq!(paths(&good(&mut tree.scoped(&["pod:name=train"]))), [path('a')]);
}

#[test]
fn a_daemon_does_not_take_a_machine_for_a_pod() {
    let tree = node("");
    let (page, outcome) = collect(&mut tree.scoped(&["pod"]));
    assert!(outcome.expect_err("not ours").to_string().contains("pod:uid=UID"));
    assert_eq!(paths(&page), Vec::<String>::new());
    // In a pod of its own it is alone.
    tree.write("proc/self/cgroup", &format!("0::/{}/cri-containerd-{}.scope\n", slice(OTHER), id('d')));
    let (_, outcome) = collect(&mut tree.scoped(&["pod"]));
    let error = outcome.expect_err("alone").to_string();
    assert!(error.contains("no other container") && error.contains("pod:uid=UID"), "{error}");
}

#[test]
fn without_a_mount_of_the_machines_cgroups_it_is_said_what_to_mount() {
    let tree = Tree::v2();
    let (_, outcome) = collect(&mut tree.scoped(&[&scope(UID)]));
    let error = outcome.expect_err("no pods").to_string();
    assert!(error.contains("no pod has a folder") && error.contains("/sys/fs/cgroup, read-only"), "{error}");
}

#[test]
fn what_is_beside_a_container_in_its_pod_is_none() {
    let tree = node("");
    let conmon = format!("{}/crio-conmon-{}.scope", slice(UID), id('a'));
    tree.group_v2(&conmon, 0, 9_000_000, 0);
    let link = tree.folder.path().join("sys/fs/cgroup").join(slice(UID)).join("link");
    symlink(tree.folder.path().join("sys/fs/cgroup").join(slice(OTHER)), link).expect("linked");
    assert_eq!(paths(&good(&mut tree.scoped(&[&scope(UID)]))).len(), 2);
}
