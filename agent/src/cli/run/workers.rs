//! Several of us on one host, one around each worker that a launcher starts there.
//!
//! All have the same Host, so one of them measures for all: that of the first worker. More would publish the same
//! figures again under the same name, and fight for the page's port. Sources: PyTorch, "torchrun (Elastic Launch)",
//! which others follow; Slurm's manual of srun ("Output environment variables").

use rustix::process::getppid;

/// Each launcher's number of a worker on its host, from 0.
const PLACES: [&str; 2] = ["LOCAL_RANK", "SLURM_LOCALID"];

/// The variable that says that another of us measures, and its number. One launcher may have started the other: then
/// only the first worker of the first is first.
pub(super) fn measured_by_another() -> Option<(&'static str, u32)> {
    another(number_of)
}

fn another(number_of: impl Fn(&str) -> Option<u32>) -> Option<(&'static str, u32)> {
    PLACES.into_iter().find_map(|name| Some((name, number_of(name).filter(|number| *number > 0)?)))
}

/// The process that started us and the other workers of this host, where there are others.
pub(super) fn launcher_of_several() -> Option<u32> {
    // We are the agent, and a child of who was started.
    several(number_of).then(|| parent(getppid()?.as_raw_pid())).flatten()
}

/// Slurm gives the numbers of the whole step: more tasks than nodes are several on some node.
fn several(number_of: impl Fn(&str) -> Option<u32>) -> bool {
    let more = |name, than| number_of(name).is_some_and(|number| number > than);
    more("LOCAL_WORLD_SIZE", 1) || more("SLURM_STEP_NUM_TASKS", number_of("SLURM_STEP_NUM_NODES").unwrap_or(1))
}

fn number_of(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.trim().parse().ok()
}

/// `None` where it has ended: everybody descends from who has its children then.
fn parent(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok().filter(|parent| *parent > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(set: &'a [(&str, u32)]) -> impl Fn(&str) -> Option<u32> + 'a {
        |name| set.iter().find_map(|(key, value)| (*key == name).then_some(*value))
    }

    #[test]
    fn the_first_worker_of_all_launchers_is_the_one() {
        assert_eq!(another(environment(&[])), None);
        assert_eq!(another(environment(&[("LOCAL_RANK", 0)])), None);
        assert_eq!(another(environment(&[("LOCAL_RANK", 3)])), Some(("LOCAL_RANK", 3)));
        assert_eq!(another(environment(&[("SLURM_LOCALID", 1)])), Some(("SLURM_LOCALID", 1)));
        assert_eq!(another(environment(&[("SLURM_LOCALID", 0), ("LOCAL_RANK", 0)])), None);
        // torchrun in each task of a step.
        assert_eq!(another(environment(&[("SLURM_LOCALID", 1), ("LOCAL_RANK", 0)])), Some(("SLURM_LOCALID", 1)));
    }

    #[test]
    fn there_are_several_where_a_launcher_says_so() {
        for (set, expected) in [
            (&[][..], false),
            (&[("LOCAL_WORLD_SIZE", 1)], false),
            (&[("LOCAL_WORLD_SIZE", 2)], true),
            (&[("SLURM_STEP_NUM_TASKS", 4), ("SLURM_STEP_NUM_NODES", 4)], false),
            (&[("SLURM_STEP_NUM_TASKS", 5), ("SLURM_STEP_NUM_NODES", 4)], true),
        ] {
            assert_eq!(several(environment(set)), expected, "{set:?}");
        }
    }

    #[test]
    fn a_parent_is_found_until_it_ends() {
        let own = i32::try_from(std::process::id()).expect("a process id");
        assert_eq!(parent(own), getppid().and_then(|pid| u32::try_from(pid.as_raw_pid()).ok()));
        assert_eq!(parent(1), None);
    }
}
