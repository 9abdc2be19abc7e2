//! Paths that lead nowhere or out, files that hold something else.

use super::*;

#[test]
fn bad_paths_are_refused_by_name() {
    let tree = Tree::v2();
    let outside = tree.folder.path().join("outside");
    fs::create_dir_all(&outside).expect("made");
    symlink(&outside, tree.folder.path().join("sys/fs/cgroup/link")).expect("linked");
    for (scope, reason, words) in [
        ("cgroup:/no/such", Reason::Missing, "no such folder below"),
        ("cgroup:/link", Reason::Denied, "symbolic link"),
        ("cgroup:/", Reason::Missing, "not the root"),
        ("pid:4711", Reason::Missing, "process 4711 ended"),
        ("tree:4711", Reason::Missing, "process 4711 ended"),
    ] {
        let (page, outcome) = collect(&mut tree.scoped(&[scope]));
        let error = outcome.expect_err(scope);
        assert!(error.reason() == reason && error.to_string().contains(words), "{scope}: {error}");
        assert_eq!(page.get(&CPU_UTILIZATION, &[]), None);
    }
    let nothing = Tree::new("", "0::/\n");
    let (_, outcome) = collect(&mut nothing.scoped(&["cgroup:/a"]));
    assert!(outcome.expect_err("no mount").to_string().contains("no cgroup file system is mounted"));
    let (_, outcome) = collect(&mut nothing.scoped(&["container"]));
    assert!(outcome.is_err());
}

#[test]
fn a_malformed_file_costs_its_own_series_only() {
    let tree = Tree::v2();
    let mut scoped = tree.scoped(&["container"]);
    good(&mut scoped);
    tree.usage("slice/job", 1_000_000);
    tree.write("sys/fs/cgroup/slice/job/memory.stat", &"anon x\n".repeat(2000));
    let (page, outcome) = collect(&mut scoped);
    let error = outcome.expect_err("malformed");
    assert_eq!(error.reason(), Reason::Malformed);
    assert!(error.to_string().contains("memory.stat: no row inactive_file"), "{error}");
    page.assert(&[(&CPU_UTILIZATION, &[], 50.0), (&MEMORY_CHARGED, &[], 400_000.0)]);
    assert_eq!((page.get(&MEMORY_USED, &[]), page.get(&MEMORY_UTILIZATION, &[])), (None, None));

    let tree = Tree::v2();
    fs::remove_file(tree.folder.path().join("sys/fs/cgroup/slice/job/memory.current")).expect("removed");
    let (page, outcome) = collect(&mut tree.scoped(&["container"]));
    assert!(outcome.expect_err("no memory controller").to_string().contains("memory.current is not there"));
    page.assert(&[(&CPU_SECONDS, &[], 0.0)]);
}
