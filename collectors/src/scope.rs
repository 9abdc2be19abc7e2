//! What is measured: a machine, a container, a cgroup, or some processes.

use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

/// What CPU, memory and disk are measured of.
///
/// As text: `auto`, `host`, `container`, `pod`, `pod:name=PATTERN`, `pod:command=PATTERN`, `pod:env=NAME=PATTERN`,
/// `pod:busiest`, `pod:uid=UID`, `cgroup:PATH`, `pid:N`, `tree:N`. A pattern is a part of the text that is looked for;
/// `*` in it stands for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The container inside a container, else the host.
    ///
    /// Inside a container is who sees two of: a process namespace that is not the machine's first, a cgroup namespace
    /// that is not, a cgroup mount that shows a part only; or one of them and a mark of an engine (`/.dockerenv`,
    /// `/run/.containerenv`, SageMaker's files, variables of Kubernetes, ECS and SageMaker, an overlay as root). A
    /// session or service of a machine is none. In a container without cgroup mounts, or in the machine's root cgroup,
    /// it is the host: there is nothing else to read.
    #[default]
    Auto,
    /// The machine.
    Host,
    /// The cgroup that this process is in.
    Container,
    /// The containers beside this one, or those of a pod of this machine ([`Neighbour::Uid`]). The first of these that
    /// there is:
    ///
    /// - a mount of the machine's cgroups (wherever it is mounted, read-only will do; under `sysfs` of
    ///   [`Roots`](crate::Roots) it comes first), in which the pod has a folder: no privilege, and no shared process
    ///   namespace. Which processes are in a container is known where `procfs` shows them, and only then can one be
    ///   chosen by them, and its file systems be measured (with the rights below);
    /// - the process namespace that the containers share, read through `/proc/PID/root`: as the same user with all
    ///   their capabilities, or with CAP_SYS_PTRACE. Else their processes are summed, and labelled so;
    /// - in ECS and Fargate the task's metadata endpoint, which measures once a second: CPU, memory, throttling and
    ///   I/O of the task's other containers, and no file systems.
    ///
    /// The pause container is told by the name of its process, `pause`; where no process can be seen it is the one that
    /// holds less than 2 MiB and has used less than a second of CPU time.
    Pod(Neighbour),
    /// A cgroup by its path below the mount of the cgroup file system, such as `/system.slice/train.service`; under
    /// `sysfs` of [`Roots`](crate::Roots) where that is another machine's. Its file systems are those that one of its
    /// processes sees.
    Cgroup(String),
    /// The cgroup of this process.
    Pid(u32),
    /// This process and its descendants, as a sum over processes: CPU time with that of children that were waited for,
    /// and resident memory, in which shared pages count for each. What ends between two readings without being waited
    /// for within the tree is missed, and so is who leaves the tree.
    Tree(u32),
}

/// Which containers of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Neighbour {
    /// All but this one and the pause container.
    #[default]
    All,
    /// Those with a process of such a name (`/proc/PID/comm`); by ECS's endpoint, those that the task definition calls
    /// so.
    Name(String),
    /// Those with a process of such a command line.
    Command(String),
    /// Those with a process that has such an environment variable.
    Environment(String, String),
    /// The one that had used most CPU time when it was looked for; it stays the one while it runs.
    Busiest,
    /// All those of the pod with this UID, as Kubernetes has it in `metadata.uid`: of any pod of the machine, for a
    /// daemon that has the machine's cgroups mounted.
    Uid(String),
}

/// Why a text is no scope, or some scopes do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoScope(pub(crate) String);

impl fmt::Display for NoScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoScope {}

/// What a scope looks like, for messages about one that does not.
pub const FORMS: &str = "auto, host, container, pod, pod:name=PATTERN, pod:command=PATTERN, pod:env=NAME=PATTERN, \
                         pod:busiest, pod:uid=UID, cgroup:PATH, pid:N or tree:N";

/// The longest path or pattern; the kernel's paths end at 4096 bytes.
const LONGEST: usize = 4096;

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        let bad = |why: &str| NoScope(format!("scope {text:?}: {why}"));
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(NoScope(format!("scope: expected up to {LONGEST} bytes without control characters")));
        }
        let number = |digits: &str| {
            let number = digits.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| bad("expected the number of a process, such as pid:4711"))
        };
        match text.split_once(':').unwrap_or((text, "")) {
            (one, "") if one.len() < text.len() => Err(bad(&format!("expected {FORMS}"))),
            ("auto", "") => Ok(Self::Auto),
            ("host", "") => Ok(Self::Host),
            ("container", "") => Ok(Self::Container),
            ("pod", "") => Ok(Self::Pod(Neighbour::All)),
            ("pod", choice) => neighbour(choice).map(Self::Pod).ok_or_else(|| bad(&format!("expected {FORMS}"))),
            ("cgroup", path) => match is_below(path) {
                true => Ok(Self::Cgroup(format!("/{}", path.trim_matches('/')))),
                false => Err(bad("expected a path below the mount of the cgroup file system, without '.' and '..'")),
            },
            ("pid", digits) => number(digits).map(Self::Pid),
            ("tree", digits) => number(digits).map(Self::Tree),
            _ => Err(bad(&format!("expected {FORMS}"))),
        }
    }
}

fn neighbour(choice: &str) -> Option<Neighbour> {
    let pattern = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    match choice.split_once('=') {
        None => (choice == "busiest").then_some(Neighbour::Busiest),
        Some(("name", text)) => pattern(text).map(Neighbour::Name),
        Some(("command", text)) => pattern(text).map(Neighbour::Command),
        Some(("uid", text)) => is_uid(text).then(|| Neighbour::Uid(text.to_ascii_lowercase())),
        Some(("env", text)) => {
            let (name, value) = text.split_once('=')?;
            Some(Neighbour::Environment(pattern(name)?, pattern(value)?))
        }
        Some(_) => None,
    }
}

/// Whether it may be a pod's UID: that of an object, 8-4-4-4-12 hexadecimal digits, or of a pod from a file of the
/// node, 32 digits.
pub(crate) fn is_uid(text: &str) -> bool {
    let is_hexadecimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths = text.split('-').map(str::len);
    text.split('-').all(is_hexadecimal) && (lengths.clone().eq([8, 4, 4, 4, 12]) || lengths.eq([32]))
}

/// Whether a path only goes down. A path of the kernel has no `.` either.
pub(crate) fn is_below(path: &str) -> bool {
    !path.is_empty()
        && !path.split('/').any(|part| part == ".")
        && Path::new(path).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Host => f.write_str("host"),
            Self::Container => f.write_str("container"),
            Self::Pod(Neighbour::All) => f.write_str("pod"),
            Self::Pod(Neighbour::Name(pattern)) => write!(f, "pod:name={pattern}"),
            Self::Pod(Neighbour::Command(pattern)) => write!(f, "pod:command={pattern}"),
            Self::Pod(Neighbour::Environment(name, pattern)) => write!(f, "pod:env={name}={pattern}"),
            Self::Pod(Neighbour::Busiest) => f.write_str("pod:busiest"),
            Self::Pod(Neighbour::Uid(uid)) => write!(f, "pod:uid={uid}"),
            Self::Cgroup(path) => write!(f, "cgroup:{path}"),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Tree(pid) => write!(f, "tree:{pid}"),
        }
    }
}

/// Which scopes are measured, and why these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Never `auto`, never empty, each once. `host` stands alone.
    pub scopes: Vec<Scope>,
    /// What decided: the option, or what was seen of a container.
    pub why: String,
}

impl Chosen {
    /// Whether it is the machine.
    pub fn is_host(&self) -> bool {
        self.scopes == [Scope::Host]
    }
}

impl fmt::Display for Chosen {
    /// What is measured, in words: `this machine`, `this container`, `pid:7 and cgroup:/a`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scopes.as_slice() {
            [Scope::Host] => f.write_str("this machine"),
            [Scope::Container] => f.write_str("this container"),
            [Scope::Pid(pid)] => write!(f, "the cgroup of process {pid}"),
            [Scope::Tree(pid)] => write!(f, "process {pid} and its descendants"),
            several => f.write_str(&several.iter().map(Scope::to_string).collect::<Vec<_>>().join(" and ")),
        }
    }
}

/// Settles what is measured. No scope at all is `auto`.
///
/// # Errors
///
/// [`NoScope`] where scopes do not fit together: `host` and `auto` stand alone, since they hold the others; and for
/// every scope but `host` on a system that is not Linux.
pub fn choose(scopes: &[Scope], roots: &crate::Roots) -> Result<Chosen, NoScope> {
    let mut distinct: Vec<Scope> = Vec::new();
    for scope in scopes {
        if !distinct.contains(scope) {
            distinct.push(scope.clone());
        }
    }
    if let Some(alone) = distinct.iter().find(|scope| matches!(scope, Scope::Host | Scope::Auto))
        && distinct.len() > 1
    {
        return Err(NoScope(format!("scope {alone} holds the others: expected it alone")));
    }
    match distinct.as_slice() {
        [] | [Scope::Auto] => {
            let (scope, why) = automatic(roots);
            Ok(Chosen { scopes: vec![scope], why })
        }
        [Scope::Host] => Ok(Chosen { scopes: distinct, why: "the option scope".into() }),
        _ if cfg!(not(target_os = "linux")) => Err(NoScope("scope: expected host, since only Linux has others".into())),
        _ => Ok(Chosen { scopes: distinct, why: "the option scope".into() }),
    }
}

#[cfg(target_os = "linux")]
fn automatic(roots: &crate::Roots) -> (Scope, String) {
    crate::linux::cgroup::automatic(roots)
}

#[cfg(not(target_os = "linux"))]
fn automatic(_: &crate::Roots) -> (Scope, String) {
    (Scope::Host, "only Linux has other scopes".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Roots;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "auto",
            "host",
            "container",
            "pod",
            "pod:name=python*",
            "pod:command=train.py --epochs=3",
            "pod:env=RANK=0",
            "pod:busiest",
            "pod:uid=8fb8cf5b-a18e-4d6e-9e1e-0a6f5e0f7c11",
            "pod:uid=0123456789abcdef0123456789abcdef",
            "cgroup:/system.slice/train.service",
            "pid:7",
            "tree:4294967295",
        ] {
            assert_eq!(text.parse::<Scope>().expect(text).to_string(), text);
        }
        assert_eq!("cgroup:a/b/".parse(), Ok(Scope::Cgroup("/a/b".into())));
        assert_eq!("cgroup:/".parse(), Ok(Scope::Cgroup("/".into())));
        // A name may end with a colon, and is shown as what reads back.
        assert_eq!("cgroup:/a:/".parse(), Ok(Scope::Cgroup("/a:".into())));
        assert_eq!("cgroup:/a:".parse(), Ok(Scope::Cgroup("/a:".into())));
    }

    #[test]
    fn bad_ones_are_refused_with_what_was_expected() {
        for text in [
            "",
            "Host",
            "host:",
            "container:x",
            "pod:",
            "pod:name",
            "pod:name=",
            "pod:env=A",
            "pod:env==x",
            "pod:colour=red",
            "pod:uid=",
            "pod:uid=train-0",
            "pod:uid=8fb8cf5b-a18e-4d6e-9e1e-0a6f5e0f7c1/",
            "pod:uid=../../../../../../../../../../..",
            "cgroup:",
            "cgroup:..",
            "cgroup:/a/../b",
            "cgroup:/a/./b",
            "cgroup:./a",
            "cgroup:/a\n",
            "pid:0",
            "pid:-1",
            "pid:self",
            "tree:",
            "tree:4294967296",
            "pid:1,2",
        ] {
            let error = text.parse::<Scope>().expect_err(text).to_string();
            assert!(error.contains("expected"), "{text:?}: {error}");
        }
        assert!(format!("cgroup:/{}", "a".repeat(5000)).parse::<Scope>().is_err());
    }

    #[test]
    fn host_stands_alone_and_nothing_counts_twice() {
        let roots = Roots::default();
        assert!(choose(&[Scope::Host, Scope::Pid(1)], &roots).is_err());
        assert!(choose(&[Scope::Pid(1), Scope::Auto], &roots).is_err());
        let chosen = choose(&[Scope::Host, Scope::Host], &roots).expect("one");
        assert!(chosen.is_host() && chosen.to_string() == "this machine");
        #[cfg(target_os = "linux")]
        {
            let chosen = choose(&[Scope::Pid(3), Scope::Container, Scope::Pid(3)], &roots).expect("two");
            assert_eq!(chosen.to_string(), "pid:3 and container");
        }
    }

    proptest! {
        // Whatever text: an error or a scope that is written and read back the same.
        #[test]
        fn no_text_panics(text in "(auto|pod|cgroup|pid|tree)?:?.{0,20}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse(), Ok(scope));
            }
        }
    }
}
