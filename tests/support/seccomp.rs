//! Filters of system calls as places have them that we ship for: what a container engine gives every container, and
//! what our systemd unit asks for. In the form of the OCI runtime specification, which runc puts into force.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::agent::{clean, run};
use super::file;

const ALLOWED: &str = "SCMP_ACT_ALLOW";
const DENIED: &str = "SCMP_ACT_ERRNO";
/// Of linux/socket.h.
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
/// Of asm-generic/errno.h.
const ENOSYS: u64 = 38;
const EAFNOSUPPORT: u64 = 97;
/// Of linux/mman.h.
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;
/// Every CLONE_NEW... flag of linux/sched.h.
const NAMESPACES: u64 = 0x7e02_0000;

/// The default of Podman, Buildah and CRI-O for a container without capabilities; Docker's and containerd's have the
/// same origin. Kubernetes calls it RuntimeDefault.
pub(crate) fn of_engines() -> Value {
    let path = file("../target/engine/seccomp.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}: tests/run puts it there", path.display()));
    let profile: Value = serde_json::from_str(&text).expect("JSON");
    let here = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let rules = profile["syscalls"].as_array().expect("rules").iter().filter(|rule| {
        let architectures = rule["includes"]["arches"].as_array();
        let of_here = architectures.is_none_or(|all| all.iter().any(|one| one == here));
        // What a rule excludes are capabilities that we have not.
        of_here && rule["includes"]["caps"].is_null()
    });
    let rules = rules.map(|rule| {
        let mut ours = json!({ "names": rule["names"], "action": rule["action"] });
        for key in ["args", "errnoRet"] {
            if !rule[key].is_null() && rule[key] != json!([]) {
                ours[key] = rule[key].clone();
            }
        }
        ours
    });
    json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "syscalls": rules.collect::<Vec<_>>(),
    })
}

/// What deploy/systemd/hostgauge.service asks for. A call outside of it kills, as under systemd; so do memory that is
/// both written and executed and another namespace, which systemd only refuses.
pub(crate) fn of_our_unit() -> Value {
    let unit = fs::read_to_string(file("../deploy/systemd/hostgauge.service")).expect("the unit");
    let says = |line: &str| assert!(unit.lines().any(|one| one == line), "the unit has no {line}");
    ["MemoryDenyWriteExecute=yes", "RestrictNamespaces=yes"].iter().for_each(|line| says(line));
    says("RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX");
    let mut names = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        for set in line.trim_start_matches('~').split(' ') {
            if line.starts_with('~') {
                names = names.difference(&calls(set)).cloned().collect();
            } else {
                names.extend(calls(set));
            }
        }
    }
    assert!(names.len() > 100, "systemd's sets are named otherwise: {names:?}");
    for judged in ["mmap", "mprotect", "pkey_mprotect", "socket", "clone", "clone3"] {
        names.remove(judged);
    }
    let masked = |name: &str, index: u32, mask: u64, value: u64| {
        let argument = json!({ "index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" });
        json!({ "names": [name], "action": ALLOWED, "args": [argument] })
    };
    let family = |action: &str, family: u64| {
        let argument = json!({ "index": 0, "value": family, "op": "SCMP_CMP_EQ" });
        json!({ "names": ["socket"], "action": action, "args": [argument] })
    };
    let mut rules = vec![json!({ "names": names, "action": ALLOWED })];
    rules.extend([0, WRITE, EXECUTE].map(|protection| masked("mmap", 2, WRITE | EXECUTE, protection)));
    rules.push(masked("mprotect", 2, EXECUTE, 0));
    rules.push(masked("clone", 0, NAMESPACES, 0));
    // Its flags lie in memory, where no filter sees them: the C library falls back to clone.
    rules.push(json!({ "names": ["clone3"], "action": DENIED, "errnoRet": ENOSYS }));
    rules.extend([AF_UNIX, AF_INET, AF_INET6].map(|one| family(ALLOWED, one)));
    // Of the kernel's routing table, which resolving a name may ask about.
    let mut others = family(DENIED, 16);
    others["errnoRet"] = json!(EAFNOSUPPORT);
    rules.push(others);
    json!({ "defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": rules })
}

/// The calls of a set of systemd's, and of the sets in it.
fn calls(set: &str) -> BTreeSet<String> {
    let said = run(&mut clean("systemd-analyze", &["syscall-filter", set]), "");
    assert!(said.status.success(), "{set}: {said:?}");
    let inside = said.stdout.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let of = |name: &str| if name.starts_with('@') { calls(name) } else { BTreeSet::from([name.to_owned()]) };
    inside.flat_map(of).collect()
}
