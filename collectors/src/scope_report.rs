//! What is known of the scopes in words, for whoever asks why.

use std::path::PathBuf;

use crate::scope::Chosen;

/// Which scopes are measured, why, and where each number comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The scopes, and what decided.
    pub chosen: Chosen,
    /// Every cgroup or sum of processes that is measured. Empty for the host.
    pub groups: Vec<Measured>,
    /// What cannot be measured: the scope and why.
    pub failures: Vec<(String, String)>,
    /// N: the cores that the scopes together may use, and what says so.
    pub cores: Option<Bound>,
    /// The memory that the scopes together may use, in bytes, and what says so.
    pub memory: Option<Bound>,
}

/// One cgroup, or some processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The scope that it belongs to, as it was written.
    pub scope: String,
    /// `cgroup`; `processes` where they are summed one by one: degraded, since it misses what ends; `task` by the
    /// metadata endpoint of an ECS task.
    pub mode: &'static str,
    /// `v1`, `v2`, `hybrid`, or `unknown` for a task.
    pub version: &'static str,
    /// The cgroup's path, as the kernel says it; the name of a task's container.
    pub path: String,
    /// In which of several ways it was found; `None` where there is one.
    pub how: Option<&'static str>,
    /// The files that are read at every tick.
    pub files: Vec<PathBuf>,
    /// What stands for `/` in the paths of its file systems.
    pub root: Option<PathBuf>,
    /// N of this one.
    pub cores: Option<Bound>,
    /// The memory limit of this one, in bytes.
    pub memory: Option<Bound>,
    /// Why it is measured in a worse way than it could be.
    pub hint: Option<Hint>,
}

/// A limit and what set it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Cores or bytes.
    pub value: f64,
    /// A file, or words.
    pub from: String,
}

/// A rule of the kernel that stood in the way, and the one-line fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// What was refused, and by which rule.
    pub rule: String,
    /// What to change.
    pub remedy: String,
}
