//! Slurm and torchrun: what they set in the environment of what they start.
//!
//! Sources: Slurm's manual of srun ("Output environment variables"); PyTorch, "torchrun (Elastic Launch)".

use super::Places;
use super::source::{Figure, Platform, Silence, Source};

/// A job's name may be another's as well, so its id belongs to it.
pub(super) fn slurm(places: &Places<'_>) -> Source {
    let source = |source: Source, id: &str| {
        let name = places.variable("SLURM_JOB_NAME");
        let job = name.map_or_else(|| id.to_owned(), |name| format!("{name}-{id}"));
        let source = source.claim(Figure::Job, "SLURM_JOB_NAME", &job);
        let source = match places.variable("SLURMD_NODENAME") {
            Some(node) => source.claim(Figure::Instance, "SLURMD_NODENAME", &node),
            None => source,
        };
        match places.variable("SLURM_NODEID") {
            Some(node) => source.claim_index("SLURM_NODEID", &node),
            None => source,
        }
    };
    Source::variable(Platform::Slurm, "SLURM_JOB_ID", places.variable("SLURM_JOB_ID"), source)
}

/// The rank of the group is that of the node; only workers have it, the launcher has PET_NODE_RANK where it was told.
pub(super) fn torchrun(places: &Places<'_>, inside_sagemaker: bool) -> Vec<Source> {
    // "none" is what torchrun itself sets where nobody named the run.
    let run = places.variable("TORCHELASTIC_RUN_ID").filter(|id| id != "none");
    let run = Source::variable(Platform::Torchrun, "TORCHELASTIC_RUN_ID", run, |source, id| {
        source.claim(Figure::Job, "the value", id)
    });
    let rank = |name: &str| {
        Source::variable(Platform::Torchrun, name, places.variable(name), |source, rank| match inside_sagemaker {
            true => {
                source.silent(Silence::Nothing(format!("{rank:?}: inside SageMaker ranks are no instance numbers")))
            }
            false => source.claim_index("the value", rank),
        })
    };
    vec![run, rank("GROUP_RANK"), rank("PET_NODE_RANK")]
}

#[cfg(test)]
mod tests {
    use crate::identity::detect::tests::found;

    #[test]
    fn a_step_of_slurm_knows_its_job_and_node() {
        let step = [("SLURM_JOB_ID", "4711"), ("SLURM_JOB_NAME", "train"), ("SLURMD_NODENAME", "gpu-07")];
        assert_eq!(found("none", &[&step[..], &[("SLURM_NODEID", "0")]].concat()), "train-4711/algo-1");
        assert_eq!(found("none", &[&step[..], &[("SLURM_NODEID", "12")]].concat()), "train-4711/algo-13");
        assert_eq!(found("none", &step), "train-4711/gpu-07");
        assert_eq!(found("none", &[("SLURM_JOB_ID", "4711"), ("SLURM_NODEID", "0")]), "4711/algo-1");
    }

    #[test]
    fn torchrun_has_ranks_which_sagemaker_does_not_count_by() {
        let run = [("TORCHELASTIC_RUN_ID", "run-1"), ("GROUP_RANK", "2")];
        assert_eq!(found("none", &run), "run-1/algo-3");
        assert_eq!(found("none", &[("TORCHELASTIC_RUN_ID", "run-1"), ("PET_NODE_RANK", "4")]), "run-1/algo-5");
        let inside = [&run[..], &[("TRAINING_JOB_NAME", "j")]].concat();
        assert_eq!(found("training", &inside), "j/algo-10");
        assert_eq!(found("none", &inside), "j/algo-1", "assumed, rather than a rank");
        assert_eq!(found("none", &[("TORCHELASTIC_RUN_ID", "none"), ("GROUP_RANK", "0")]), "this-machine");
    }
}
