//! Scopes that are not the machine: cgroups of version 1, 2 or both, the containers of a pod, processes in sum.

mod auto;
mod beside;
mod collector;
mod cpu;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod group;
mod io;
mod limits;
mod locate;
mod machine;
mod membership;
mod memory;
mod mounts;
mod node;
mod pod;
mod pressure;
mod processes;
mod reading;
mod target;
mod task;
mod task_statistics;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use auto::automatic;
pub use collector::{FileSystems, Scoped, explain};
