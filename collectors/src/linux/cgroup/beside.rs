//! Where the containers of a pod or task are found, and whether those are still the ones.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::{CollectError, Reason};
use crate::linux::cgroup::group::Found;
use crate::linux::cgroup::task::Task;
use crate::linux::cgroup::{node, pod, processes};
use crate::sample::Roots;
use crate::scope::Neighbour;
use crate::task_endpoint::TaskEndpoint;

/// A process may change its name without any process coming or going, and a new container is not yet what it will be:
/// they are looked at anew after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The same where it was guessed which container is the pause container.
const LOOK_AGAIN_AT_GUESS: Duration = Duration::from_secs(1);

/// Who was there when containers were looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Present {
    /// The processes that can be seen.
    Processes(Vec<u32>),
    /// The folders in that of the pod.
    Folders {
        parent: PathBuf,
        names: Vec<OsString>,
        is_guess: bool,
        /// Nothing but another folder makes another container of it.
        is_settled: bool,
    },
    /// The containers in the task's statistics, by their ids.
    Task(Vec<String>),
}

impl Present {
    /// Whether the containers still are those that were found at `looked`.
    pub(super) fn is_current(&self, roots: &Roots, looked: Instant, task: Option<&Task>) -> bool {
        let is_fresh = |patience: Duration| looked.elapsed() < patience;
        match self {
            Self::Processes(pids) => is_fresh(LOOK_AGAIN) && *pids == processes::pids(&roots.procfs),
            Self::Folders { parent, names, is_guess, is_settled } => {
                let patience = if *is_guess { LOOK_AGAIN_AT_GUESS } else { LOOK_AGAIN };
                (*is_settled || is_fresh(patience)) && *names == node::folders(parent)
            }
            Self::Task(ids) => is_fresh(LOOK_AGAIN) && task.is_some_and(|task| task.has(ids)),
        }
    }

    /// The same as seen once more some time later: a second look at the same folders is the last.
    fn after(self, before: Option<&Self>) -> Self {
        match (self, before) {
            (Self::Folders { parent, names, is_guess: false, .. }, Some(Self::Folders { names: old, .. })) => {
                let is_settled = names == *old;
                Self::Folders { parent, names, is_guess: false, is_settled }
            }
            (present, _) => present,
        }
    }
}

/// Whether it takes a look at processes to choose.
pub(super) fn is_by_process(choice: &Neighbour) -> bool {
    matches!(choice, Neighbour::Name(_) | Neighbour::Command(_) | Neighbour::Environment(..))
}

/// The chosen containers. `task` is asked from its start on, until they are found in a better way.
pub(super) fn find(
    roots: &Roots,
    choice: &Neighbour,
    before: Option<&Present>,
    task: &mut Option<Task>,
) -> Result<(Vec<Found>, Present), CollectError> {
    if let Some((found, present)) = node::find(roots, choice)? {
        *task = None;
        return Ok((found, if is_by_process(choice) { present } else { present.after(before) }));
    }
    let pids = processes::pids(&roots.procfs);
    let alone = match pod::neighbours(roots) {
        Ok(all) => {
            *task = None;
            return Ok((pod::choose(roots, all, choice)?, Present::Processes(pids)));
        }
        Err(alone) => alone,
    };
    if task.is_none() {
        let Some(uri) = std::env::var(TaskEndpoint::VARIABLE).ok().filter(|uri| !uri.is_empty()) else {
            return Err(alone);
        };
        let endpoint = TaskEndpoint::parse(&uri).ok_or_else(|| {
            let message = format!("scope pod: {}: expected {}", TaskEndpoint::VARIABLE, TaskEndpoint::EXPECTED);
            CollectError::new(Reason::Malformed, message)
        })?;
        let start = Task::start(endpoint)
            .map_err(|error| CollectError::new(Reason::Failed, format!("scope pod: cannot start a thread: {error}")))?;
        *task = Some(start);
    }
    match task {
        Some(task) => task.find(choice),
        None => Err(alone),
    }
}
