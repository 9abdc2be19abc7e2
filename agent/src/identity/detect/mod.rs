//! Asking every source, the strongest first; each figure of the identity has its own winner.

mod compose;
mod ec2;
mod ecs;
mod file;
#[cfg(all(any(test, fuzzing), feature = "top", target_os = "linux"))]
pub(crate) mod fuzzing;
mod hyperpod;
mod kubernetes;
mod launcher;
mod podinfo;
mod sagemaker;
mod source;
mod toolkit;

use std::path::{Path, PathBuf};

use hostgauge_collectors::Roots;

use super::{FALLBACK, Told, host_name};
use crate::job_kind::JobKind;
use compose::compose;
use source::Silence;
pub(crate) use source::{Figure, Platform, Source};

/// The environment by name.
pub(crate) type Variables<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

/// Where sources are looked for.
pub(crate) struct Places<'a> {
    /// A variable of the environment that is set and not empty.
    pub variables: Variables<'a>,
    /// The platform's files are those of what is measured, so they lie below its root.
    pub roots: &'a Roots,
    /// Where the downward API is mounted; it is this container's own, so no root stands before it.
    pub podinfo: &'a Path,
}

impl std::fmt::Debug for Places<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places").field("roots", &self.roots).field("podinfo", &self.podinfo).finish_non_exhaustive()
    }
}

impl Places<'_> {
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn on_host(&self, path: &str) -> PathBuf {
        self.roots.on_host(Path::new(path))
    }
}

/// Who this host is, and why.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub host: String,
    /// What of the Host is not known, and what stands in its place; `None` where all of it is known.
    pub guess: Option<&'static str>,
    /// `training` where no source has one.
    pub kind: JobKind,
    /// Every source, the strongest first.
    pub sources: Vec<Source>,
    /// Which sources (by their place in `sources`) made the Host or named the kind.
    pub used: Vec<usize>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

impl Identity {
    /// The winner of a figure and its answer.
    pub(crate) fn answer(&self, figure: Figure) -> Option<(&Source, &str)> {
        winner(&self.sources, figure).map(|(_, source, text)| (source, text))
    }

    /// The source of the name speaks for the whole: that of the job, else of the endpoint, else of the host.
    pub(crate) fn named_by(&self) -> Option<&Source> {
        let used = |figure| winner(&self.sources, figure).filter(|(index, ..)| self.used.contains(index));
        let named = match used(Figure::Host) {
            Some((_, source, _)) if source.platform == Platform::Options => Some(Figure::Host),
            _ => [Figure::Endpoint, Figure::Job, Figure::Host].into_iter().find(|figure| used(*figure).is_some()),
        };
        used(named?).map(|(_, source, _)| source)
    }

    pub(crate) fn told(&self) -> Told {
        let platform = self.named_by().map_or(Platform::System, |source| source.platform);
        Told { source: platform.as_str(), guessed: self.guess.is_some() }
    }
}

fn winner(sources: &[Source], figure: Figure) -> Option<(usize, &Source, &str)> {
    let answer = |(index, source): (usize, &'_ Source)| source.answer(figure).map(|_| index);
    let index = sources.iter().enumerate().find_map(answer)?;
    let source = sources.get(index)?;
    Some((index, source, source.answer(figure)?))
}

/// Asks everyone. `given` is what the options say. Inside SageMaker it waits for files that may still be written,
/// unless the options say all that these could.
pub(crate) fn identify(given: Vec<Source>, places: &Places<'_>) -> Identity {
    let says = |figure| winner(&given, figure).is_some();
    let instance = says(Figure::Number) || says(Figure::Instance);
    let complete = says(Figure::Host) || (says(Figure::Kind) && says(Figure::Job) && instance);
    let late = if complete { None } else { sagemaker::wait(places) };
    let mut identity = settle(given, places, host_name());
    identity.warnings.extend(late);
    identity
}

/// By the options alone, asking nobody, for who must not wait.
pub(crate) fn identify_by_options(given: Vec<Source>) -> Identity {
    let mut sources = given;
    sources.push(Source::new(Platform::System, "none of these").claim(Figure::Host, "the name", FALLBACK));
    conclude(sources)
}

fn settle(given: Vec<Source>, places: &Places<'_>, host_name: Option<String>) -> Identity {
    // The one list of sources, the strongest first.
    let mut sources = given;
    sources.extend(sagemaker::sources(places));
    let by_platform = |source: &Source| source.platform == Platform::SageMaker && source.answer(Figure::Kind).is_some();
    let inside_sagemaker = sources.iter().any(by_platform);
    sources.extend(toolkit::sources(places));
    sources.push(hyperpod::source(places));
    sources.extend(kubernetes::sources(places));
    sources.push(ecs::source(places));
    sources.push(launcher::slurm(places));
    sources.extend(launcher::torchrun(places, inside_sagemaker));
    sources.push(ec2::source(places));
    sources.push(match host_name {
        Some(name) => Source::new(Platform::System, "host name of the system").claim(Figure::Host, "the name", &name),
        None => Source::missing(Platform::System, "host name of the system"),
    });
    sources.push(Source::new(Platform::System, "none of these").claim(Figure::Host, "the name", FALLBACK));
    conclude(sources)
}

fn conclude(sources: Vec<Source>) -> Identity {
    let answer = |figure| winner(&sources, figure).map(|(.., text)| text);
    let kind = answer(Figure::Kind).and_then(JobKind::from_word).unwrap_or_default();
    let (given, host_name) = match winner(&sources, Figure::Host) {
        Some((_, source, text)) if source.platform == Platform::Options => (Some(text), FALLBACK),
        found => (None, found.map_or(FALLBACK, |(.., text)| text)),
    };
    let composed = compose(kind, answer, given, host_name);
    let used = composed.of.iter().chain([&Figure::Kind]);
    let mut used: Vec<usize> = used.filter_map(|figure| winner(&sources, *figure).map(|(index, ..)| index)).collect();
    used.sort_unstable();
    used.dedup();
    let warnings = faults(&sources).chain(conflicts(&sources)).collect();
    Identity { host: composed.host, guess: composed.guess, kind, used, warnings, sources }
}

fn faults(sources: &[Source]) -> impl Iterator<Item = String> {
    sources.iter().filter_map(|source| match &source.silence {
        Some(silence @ (Silence::Unreadable(_) | Silence::Malformed(_))) => Some(format!("{}: {silence}", source.name)),
        _ => None,
    })
}

/// Sources that contradict the winner. ARNs have names in lower case, so letters' case is no contradiction.
fn conflicts(sources: &[Source]) -> impl Iterator<Item = String> {
    [Figure::Kind, Figure::Job, Figure::Number].into_iter().flat_map(move |figure| {
        let won = winner(sources, figure).filter(|(_, source, _)| source.platform.can_conflict());
        won.into_iter().flat_map(move |(index, winner, answer)| {
            let weaker = sources.iter().skip(index + 1).filter(|source| source.platform.can_conflict());
            weaker.filter_map(move |source| {
                let other = source.answer(figure).filter(|other| !other.eq_ignore_ascii_case(answer))?;
                let (option, winner, name) = (figure.option(), &winner.name, &source.name);
                Some(format!("{option}: {winner} says {answer:?}, {name} says {other:?}: taking the first"))
            })
        })
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A fixture tree and an environment.
    pub(crate) struct Given {
        roots: Roots,
        pub(crate) podinfo: PathBuf,
        variables: Vec<(String, String)>,
    }

    impl Given {
        pub(crate) fn new(tree: &str) -> Self {
            let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/identity").join(tree);
            let [rootfs, procfs, sysfs, podinfo] = ["root", "proc", "sys", "podinfo"].map(|name| tree.join(name));
            Self { roots: Roots { procfs, sysfs, rootfs }, podinfo, variables: Vec::new() }
        }

        pub(crate) fn below(root: &Path) -> Self {
            let mut given = Self::new("none");
            given.roots.rootfs = root.to_owned();
            given
        }

        pub(crate) fn variables(mut self, variables: &[(&str, &str)]) -> Self {
            self.variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            self
        }

        pub(crate) fn places(&self) -> Places<'_> {
            let variable =
                |name: &str| self.variables.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
            Places { variables: Box::new(variable), roots: &self.roots, podinfo: &self.podinfo }
        }
    }

    fn settled(tree: &str, variables: &[(&str, &str)], options: &[(Figure, &str)]) -> Identity {
        let given = Given::new(tree).variables(variables);
        let option = |(figure, text): &(Figure, &str)| {
            Source::new(Platform::Options, format!("flag --{}", figure.option())).claim(*figure, "the value", text)
        };
        settle(options.iter().map(option).collect(), &given.places(), Some("this-machine".into()))
    }

    /// The Host that a tree and an environment amount to.
    pub(crate) fn found(tree: &str, variables: &[(&str, &str)]) -> String {
        settled(tree, variables, &[]).host
    }

    #[test]
    fn a_machine_that_nobody_knows_is_its_name_and_says_that_it_guesses() {
        let identity = settled("none", &[], &[]);
        assert_eq!((identity.host.as_str(), identity.kind), ("this-machine", JobKind::Training));
        assert!(identity.guess.is_some_and(|guess| guess.contains("no source names a job")));
        assert_eq!((identity.told().source, identity.told().guessed), ("host_name", true));
        let used: Vec<&str> = identity.used.iter().map(|index| identity.sources[*index].name.as_str()).collect();
        assert_eq!(used, ["host name of the system"]);
        assert!(identity.warnings.is_empty(), "{:?}", identity.warnings);
        assert_eq!(settle(Vec::new(), &Given::new("none").places(), None).host, FALLBACK);
    }

    #[test]
    fn each_figure_has_its_own_winner() {
        let identity = settled("training", &[("SLURM_JOB_ID", "7"), ("SLURM_NODEID", "0")], &[]);
        assert_eq!(identity.host, "7/algo-10", "the number is SageMaker's, the name Slurm's");
        let identity = settled("training", &[("TRAINING_JOB_NAME", "j")], &[(Figure::Job, "mine")]);
        assert_eq!((identity.host.as_str(), identity.told().source), ("mine/algo-10", "option"));
        assert!(identity.warnings.is_empty(), "an option is meant to differ: {:?}", identity.warnings);
        let identity = settled("ec2", &[("SAGEMAKER_BATCH", "true")], &[(Figure::Job, "j")]);
        assert_eq!((identity.host.as_str(), identity.guess), ("j/i-0af01c0123456789a", None));
        let names = [(Figure::Endpoint, "e"), (Figure::Variant, "AllTraffic")];
        let identity = settled("ec2", &[("SAGEMAKER_BIND_TO_PORT", "8080")], &names);
        assert_eq!((identity.host.as_str(), identity.kind), ("e/AllTraffic/i-0af01c0123456789a", JobKind::Endpoint));
        assert_eq!(settled("training", &[], &[(Figure::Host, "whole")]).host, "whole");
    }

    #[test]
    fn who_contradicts_is_named_beside_the_winner() {
        let identity = settled("training", &[("TRAINING_JOB_NAME", "j"), ("SM_CURRENT_HOST", "algo-2")], &[]);
        assert_eq!(identity.host, "j/algo-10");
        let [warning] = identity.warnings.as_slice() else { panic!("{:?}", identity.warnings) };
        for words in ["instance-number", "resourceconfig.json says \"10\"", "SM_CURRENT_HOST says \"2\"", "the first"] {
            assert!(warning.contains(words), "{warning}");
        }
        let arn = ("TRAINING_JOB_ARN", "arn:aws:sagemaker:eu-central-1:1:training-job/my-job");
        let identity = settled("training", &[("TRAINING_JOB_NAME", "My-Job"), arn], &[]);
        assert_eq!((identity.host.as_str(), identity.warnings.len()), ("My-Job/algo-10", 0));
    }

    #[test]
    fn a_fault_of_a_source_is_a_warning_and_costs_only_its_own_answer() {
        let identity = settled("malformed", &[("TRAINING_JOB_NAME", "j")], &[]);
        assert_eq!(identity.host, "j/algo-1");
        assert!(identity.guess.is_some());
        let [warning] = identity.warnings.as_slice() else { panic!("{:?}", identity.warnings) };
        assert!(warning.contains("resourceconfig.json: malformed:") && warning.contains("line 1 column"), "{warning}");
    }

    proptest! {
        /// Whatever the environment holds, there is a Host, it is one line, and nothing panics.
        #[test]
        fn any_environment_leads_to_a_host(
            values in proptest::collection::vec("\\PC{0,20}|[\\x00-\\x20]{1,4}|[0-9]{1,12}", 10),
        ) {
            let names = [
                "TRAINING_JOB_NAME", "TRAINING_JOB_ARN", "SAGEMAKER_BATCH", "SM_CURRENT_HOST", "SM_TRAINING_ENV",
                "ECS_CONTAINER_METADATA_URI_V4", "SLURM_JOB_ID", "SLURM_NODEID", "TORCHELASTIC_RUN_ID", "GROUP_RANK",
            ];
            let variables: Vec<(&str, &str)> =
                names.into_iter().zip(&values).map(|(name, value)| (name, value.as_str())).collect();
            let identity = settled("none", &variables, &[]);
            let host = identity.host;
            prop_assert!(!host.is_empty() && !host.chars().any(char::is_control), "{host:?}");
            prop_assert!(identity.warnings.iter().all(|warning| !warning.contains('\n')), "{:?}", identity.warnings);
        }
    }
}
