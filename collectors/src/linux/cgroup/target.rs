//! One scope, and the groups that it stands for as of now.

use std::time::{Duration, Instant};

use crate::error::{CollectError, Reason};
use crate::linux::cgroup::beside::{self, Present};
use crate::linux::cgroup::group::{Found, Gone, Group, Source, ended};
use crate::linux::cgroup::locate;
use crate::linux::cgroup::machine::EVERY;
use crate::linux::cgroup::membership::Membership;
use crate::linux::cgroup::task::Task;
use crate::linux::cgroup::{pod, processes, text};
use crate::sample::Roots;
use crate::scope::{Neighbour, Scope};

/// A cgroup without a process is looked into for one this often.
const LOOK_FOR_PROCESS: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Target {
    scope: Scope,
    pub name: String,
    pub groups: Vec<Group>,
    /// Of the process that it was found by.
    watched: Option<Membership>,
    /// When the process of the scope started: another one may get its number.
    born: Option<u64>,
    /// Of a pod: who was there, and the endpoint that tells.
    present: Option<Present>,
    task: Option<Task>,
    looked: Option<Instant>,
    /// The busiest, once chosen, stays chosen.
    busiest: Option<Found>,
}

impl Target {
    pub(super) fn new(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            name: scope.to_string(),
            groups: Vec::new(),
            watched: None,
            born: None,
            present: None,
            task: None,
            looked: None,
            busiest: None,
        }
    }

    /// Reads every group; true if the groups are not those of the reading before. A group that ended is looked for
    /// anew at once: a container that restarts is a new cgroup.
    pub(super) fn read(&mut self, roots: &Roots, buffer: &mut Vec<u8>) -> Result<bool, CollectError> {
        let mut changed = false;
        self.groups.iter_mut().for_each(|group| group.done = false);
        if !self.is_current(roots, buffer) {
            changed = self.find(roots, buffer)?;
        }
        if self.read_groups(roots, buffer).is_err() {
            changed |= self.find(roots, buffer)?;
            if let Err(Gone(error)) = self.read_groups(roots, buffer) {
                self.groups.retain(|group| !group.gone);
                return Err(error);
            }
        }
        Ok(changed)
    }

    fn read_groups(&mut self, roots: &Roots, buffer: &mut Vec<u8>) -> Result<(), Gone> {
        let mut outcome = Ok(());
        for group in self.groups.iter_mut().filter(|group| !group.done) {
            outcome = outcome.and(group.read(roots, buffer));
        }
        outcome
    }

    /// Whether the groups still are what the scope stands for.
    fn is_current(&mut self, roots: &Roots, buffer: &mut Vec<u8>) -> bool {
        if self.groups.is_empty() {
            return false;
        }
        match (&self.scope, &mut self.watched) {
            (_, Some(membership)) => membership.holds(buffer),
            // Nobody was in it, and so no root of file systems was found.
            (Scope::Cgroup(_), None) => self.looked.is_some_and(|at| at.elapsed() < LOOK_FOR_PROCESS),
            (Scope::Pod(_), _) => {
                let present = self.present.as_ref().zip(self.looked);
                present.is_some_and(|(present, looked)| present.is_current(roots, looked, self.task.as_ref()))
            }
            _ => true,
        }
    }

    /// Finds the groups. Those that were there before keep their readings; true if others came or some went.
    pub(super) fn find(&mut self, roots: &Roots, buffer: &mut Vec<u8>) -> Result<bool, CollectError> {
        let found = self.look(roots, buffer).inspect_err(|_| self.groups.clear())?;
        let mut before = std::mem::take(&mut self.groups);
        let mut changed = before.len() != found.len();
        let mut outcome = Ok(());
        for one in found {
            match before.iter().position(|group| !group.gone && group.found.is(&one)) {
                Some(index) => {
                    let mut group = before.swap_remove(index);
                    changed |= group.found.root != one.root;
                    group.found.root = one.root;
                    self.groups.push(group);
                }
                None => {
                    changed = true;
                    if let Some(hint) = &one.hint {
                        log::warn!(
                            "scope {}: the sum of its processes only. {}; {}",
                            self.name,
                            hint.rule,
                            hint.remedy
                        );
                    }
                    match Group::open(&self.name, one, buffer) {
                        Ok(group) => self.groups.push(group),
                        Err(error) => outcome = Err(error),
                    }
                }
            }
        }
        outcome.map(|()| changed)
    }

    fn look(&mut self, roots: &Roots, buffer: &mut Vec<u8>) -> Result<Vec<Found>, CollectError> {
        match self.scope.clone() {
            Scope::Container => {
                let membership = self.watch(roots, "self", EVERY, buffer)?;
                let places = locate::of_process(roots, "self", &membership)?;
                Ok(vec![Found {
                    source: Source::Cgroup,
                    places,
                    root: Some(roots.rootfs.clone()),
                    hint: None,
                    how: None,
                }])
            }
            Scope::Pid(pid) => {
                self.process(roots, pid)?;
                let membership = self.watch(roots, &pid.to_string(), Duration::ZERO, buffer)?;
                let places = locate::of_process(roots, &pid.to_string(), &membership)?;
                let root = Some(roots.procfs.join(pid.to_string()).join("root"));
                Ok(vec![Found { source: Source::Cgroup, places, root, hint: None, how: None }])
            }
            Scope::Tree(pid) => {
                let start = self.process(roots, pid)?;
                let folder = roots.procfs.join(pid.to_string());
                let membership = text::read(&folder.join("cgroup")).unwrap_or_default();
                // Only for its limits, which there need not be.
                let places = locate::of_process(roots, &pid.to_string(), &membership).unwrap_or_default();
                let root = Some(folder.join("root"));
                Ok(vec![Found { source: Source::Tree { pid, start }, places, root, hint: None, how: None }])
            }
            Scope::Cgroup(path) => {
                let places = locate::of_path(roots, &path)?;
                self.looked = Some(Instant::now());
                let process = locate::some_process(&roots.procfs, &places);
                // Once it is gone, its number may be another's.
                self.watched = process.and_then(|pid| Membership::of(roots, &pid.to_string(), EVERY, buffer).ok());
                let root = process.map(|pid| roots.procfs.join(pid.to_string()).join("root"));
                Ok(vec![Found { source: Source::Cgroup, places, root, hint: None, how: None }])
            }
            Scope::Pod(choice) => {
                self.looked = Some(Instant::now());
                self.neighbours(roots, &choice)
            }
            Scope::Auto | Scope::Host => {
                Err(CollectError::new(Reason::Failed, format!("scope {} is no cgroup", self.scope)))
            }
        }
    }

    fn neighbours(&mut self, roots: &Roots, choice: &Neighbour) -> Result<Vec<Found>, CollectError> {
        let (found, present) = beside::find(roots, choice, self.present.as_ref(), &mut self.task)?;
        self.present = Some(present);
        if *choice != Neighbour::Busiest {
            return Ok(found);
        }
        if let Some(chosen) = &self.busiest
            && let Some(still) = found.iter().find(|one| one.is(chosen))
        {
            return Ok(vec![still.clone()]);
        }
        let found = pod::busiest(roots, found);
        self.busiest = found.first().cloned();
        Ok(found)
    }

    /// Finds the groups for someone who waits: until a task's endpoint has answered, or should have.
    pub(super) fn find_patiently(&mut self, roots: &Roots, buffer: &mut Vec<u8>) -> Result<bool, CollectError> {
        let changed = self.find(roots, buffer)?;
        match &self.task {
            Some(task) if self.groups.is_empty() => {
                task.wait();
                self.find(roots, buffer)
            }
            _ => Ok(changed),
        }
    }

    /// When the process started, if it is still the one that it was at first.
    fn process(&mut self, roots: &Roots, pid: u32) -> Result<u64, CollectError> {
        let process = processes::read(&roots.procfs, pid).ok_or_else(|| ended(pid))?;
        match *self.born.get_or_insert(process.start) == process.start {
            true => Ok(process.start),
            false => {
                let message =
                    format!("process {pid} ended, and another has its number (expected the one of the start)");
                Err(CollectError::new(Reason::Missing, message))
            }
        }
    }

    fn watch(
        &mut self,
        roots: &Roots,
        process: &str,
        patience: Duration,
        buffer: &mut Vec<u8>,
    ) -> Result<String, CollectError> {
        let membership = self.watched.insert(Membership::of(roots, process, patience, buffer)?);
        Ok(membership.said().to_owned())
    }

    /// As if the membership had been read long ago.
    #[cfg(test)]
    pub(super) fn age_membership(&mut self) {
        self.watched.iter_mut().for_each(Membership::age);
    }
}
