//! The containers of an ECS or Fargate task, by the statistics of its metadata endpoint: for a task whose containers
//! share no process namespace.
//!
//! A thread of its own asks once a second, which is as often as the endpoint measures, so that an endpoint that does
//! not answer keeps no tick waiting. CPU time is taken over the endpoint's own time stamps: a value is the exact mean
//! between two of its measurements, shown until the next one comes, and for [`FRESH`] at most.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{CollectError, Reason};
use crate::linux::cgroup::beside::Present;
use crate::linux::cgroup::group::{Found, Source};
use crate::linux::cgroup::locate::Places;
use crate::linux::cgroup::pod;
use crate::linux::cgroup::task_statistics::{Statistics, interpret, own_id};
use crate::scope::Neighbour;
use crate::task_endpoint::TaskEndpoint;

/// The endpoint measures once a second.
const EVERY: Duration = Duration::from_secs(1);
/// A measurement that is the newest for longer than this is no figure of now: two that did not come.
const FRESH: Duration = Duration::from_secs(3);

/// A task's endpoint, asked until this is dropped.
#[derive(Debug)]
pub(super) struct Task {
    desk: Arc<Desk>,
}

/// A container of the task.
#[derive(Clone, Debug)]
pub(super) struct Container {
    id: String,
    pub name: String,
    desk: Arc<Desk>,
}

impl PartialEq for Container {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Container {}

/// A container's newest statistics, and since when they are the newest.
#[derive(Debug)]
pub(super) struct Newest {
    pub statistics: Statistics,
    pub since: Instant,
}

#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    answer: Option<Vec<Arc<Newest>>>,
    /// Why the last question has no answer.
    failure: Option<CollectError>,
    is_closed: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The newest statistics of every container; `None` while the first are awaited.
    fn current(&self) -> Result<Option<&[Arc<Newest>]>, CollectError> {
        let failed = |otherwise: &dyn Fn() -> CollectError| self.failure.clone().unwrap_or_else(otherwise);
        match &self.answer {
            None => self.failure.clone().map_or(Ok(None), Err),
            Some(all) => match all.iter().find(|newest| newest.since.elapsed() > FRESH) {
                None if all.is_empty() => Err(failed(&|| {
                    CollectError::new(Reason::Missing, "scope pod: the task has no other container that runs")
                })),
                None => Ok(Some(all)),
                Some(old) => Err(failed(&|| {
                    let (name, age) = (&old.statistics.name, old.since.elapsed().as_secs());
                    trouble(Reason::TimedOut, &format!("nothing new of the container {name} for {age} s"))
                })),
            },
        }
    }

    /// Takes in what the endpoint said at `now`.
    fn take(&mut self, outcome: Result<Vec<Statistics>, CollectError>, now: Instant) {
        match outcome {
            Ok(all) => {
                let before = self.answer.take().unwrap_or_default();
                let newest = |statistics: Statistics| {
                    let same = |old: &&Arc<Newest>| {
                        (&old.statistics.id, old.statistics.read) == (&statistics.id, statistics.read)
                    };
                    let same = before.iter().find(same).cloned();
                    same.unwrap_or_else(|| Arc::new(Newest { statistics, since: now }))
                };
                (self.answer, self.failure) = (Some(all.into_iter().map(newest).collect()), None);
            }
            Err(error) => {
                // An answer that leaves something unknown is newer than what was known.
                if matches!(error.reason(), Reason::Missing | Reason::Malformed) {
                    self.answer = None;
                }
                self.failure = Some(error);
            }
        }
    }
}

fn trouble(reason: Reason, why: &str) -> CollectError {
    CollectError::new(reason, format!("scope pod: the task's endpoint ({}): {why}", TaskEndpoint::VARIABLE))
}

impl Task {
    /// Starts asking.
    pub(super) fn start(endpoint: TaskEndpoint) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let theirs = Arc::clone(&desk);
        thread::Builder::new().name("hostgauge-task".into()).stack_size(256 * 1024).spawn(move || {
            let mut own = None;
            let mut state = theirs.lock();
            while !state.is_closed {
                drop(state);
                let outcome = ask(&endpoint, &mut own);
                state = theirs.lock();
                state.take(outcome, Instant::now());
                theirs.changed.notify_all();
                let is_open = |state: &mut State| !state.is_closed;
                let waited = theirs.changed.wait_timeout_while(state, EVERY, is_open);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        })?;
        Ok(Self { desk })
    }

    /// Waits for a first answer, or why there is none.
    pub(super) fn wait(&self) {
        let is_open = |state: &mut State| state.answer.is_none() && state.failure.is_none();
        drop(self.desk.changed.wait_timeout_while(self.desk.lock(), 4 * EVERY, is_open));
    }

    /// Whether the containers that run are those with these ids.
    pub(super) fn has(&self, ids: &[String]) -> bool {
        let state = self.desk.lock();
        state
            .current()
            .is_ok_and(|all| all.is_some_and(|all| all.iter().map(|newest| &newest.statistics.id).eq(ids.iter())))
    }

    /// The chosen containers; none while the first answer is awaited.
    pub(super) fn find(&self, choice: &Neighbour) -> Result<(Vec<Found>, Present), CollectError> {
        let is_chosen = |name: &str| match choice {
            Neighbour::All | Neighbour::Busiest => Some(true),
            Neighbour::Name(pattern) => Some(pod::holds(name, pattern)),
            Neighbour::Command(_) | Neighbour::Environment(..) | Neighbour::Uid(_) => None,
        };
        let state = self.desk.lock();
        let all = state.current()?.unwrap_or_default();
        let mut found = Vec::new();
        for newest in all {
            let Statistics { id, name, .. } = &newest.statistics;
            match is_chosen(name) {
                Some(true) => found.push(self.found(id, name)),
                Some(false) => {}
                None => {
                    let message = "scope pod: the task's endpoint shows no processes (expected pidMode: task in the \
                                   task definition, or pod:name=PATTERN)";
                    return Err(CollectError::new(Reason::Missing, message));
                }
            }
        }
        if found.is_empty() && !all.is_empty() {
            return Err(pod::none_of(all.len()));
        }
        Ok((found, Present::Task(all.iter().map(|newest| newest.statistics.id.clone()).collect())))
    }

    fn found(&self, id: &str, name: &str) -> Found {
        let container = Container { id: id.to_owned(), name: name.to_owned(), desk: Arc::clone(&self.desk) };
        let how = Some("by the task's metadata endpoint, which has no file systems; pidMode: task shows them");
        Found { source: Source::Task(container), places: Places::default(), root: None, hint: None, how }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.desk.lock().is_closed = true;
        self.desk.changed.notify_all();
    }
}

impl Container {
    /// Its newest statistics.
    pub(super) fn newest(&self) -> Result<Arc<Newest>, CollectError> {
        let state = self.desk.lock();
        let mut all = state.current()?.unwrap_or_default().iter();
        let newest = all.find(|newest| newest.statistics.id == self.id).cloned();
        newest.ok_or_else(|| trouble(Reason::Missing, &format!("the container {} has stopped", self.name)))
    }
}

/// One round of questions. `own` is the id of our own container, once it is known.
fn ask(endpoint: &TaskEndpoint, own: &mut Option<String>) -> Result<Vec<Statistics>, CollectError> {
    let get = |below: &str| {
        endpoint.get(below).map_err(|error| {
            let place = if below.is_empty() { "/" } else { below };
            trouble(error.reason(), &format!("{place}: {error}"))
        })
    };
    let said = |error: CollectError| trouble(error.reason(), &error.to_string());
    let own = match own {
        Some(own) => own,
        none => none.insert(own_id(&get("")?).map_err(said)?),
    };
    interpret(&get("/task")?, &get("/task/stats")?, own).map_err(said)
}

#[cfg(test)]
mod tests;
