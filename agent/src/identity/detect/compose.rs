//! The Host made of its parts, in the form that SageMaker documents for each kind of job.
//!
//! Sources: Amazon SageMaker, "Monitor Amazon SageMaker with Amazon CloudWatch" (`JOB/algo-N`, `JOB/INSTANCE-ID`), and
//! for endpoints "Inference Pipeline Logs and Metrics" (`ENDPOINT/VARIANT/INSTANCE-ID`).

use super::source::Figure;
use crate::job_kind::JobKind;

/// A Host, and how well it is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Composed {
    pub host: String,
    /// The figures it is made of.
    pub of: Vec<Figure>,
    /// What of it is not known, and what stands in its place.
    pub guess: Option<&'static str>,
}

/// `host_name` is what a machine is called that is not known any better.
pub(super) fn compose<'a>(
    kind: JobKind,
    answer: impl Fn(Figure) -> Option<&'a str>,
    given: Option<&str>,
    host_name: &str,
) -> Composed {
    let composed = |host: String, of: &[Figure], guess| Composed { host, of: of.to_vec(), guess };
    if let Some(host) = given {
        return composed(host.to_owned(), &[Figure::Host], None);
    }
    let instance = answer(Figure::Instance);
    if kind == JobKind::Endpoint {
        let (Some(endpoint), Some(variant)) = (answer(Figure::Endpoint), answer(Figure::Variant)) else {
            return composed(
                host_name.to_owned(),
                &[Figure::Host],
                Some("the host name, as no source names the endpoint"),
            );
        };
        let of = [Figure::Endpoint, Figure::Variant, instance.map_or(Figure::Host, |_| Figure::Instance)];
        return composed(format!("{endpoint}/{variant}/{}", instance.unwrap_or(host_name)), &of, no_id(instance));
    }
    let Some(job) = answer(Figure::Job) else {
        return composed(host_name.to_owned(), &[Figure::Host], Some("the host name, as no source names a job"));
    };
    match (kind, answer(Figure::Number), instance) {
        (JobKind::Transform, _, None) => {
            composed(format!("{job}/{host_name}"), &[Figure::Job, Figure::Host], no_id(None))
        }
        (JobKind::Transform, _, Some(id)) => composed(format!("{job}/{id}"), &[Figure::Job, Figure::Instance], None),
        (_, Some(number), _) => composed(format!("{job}/algo-{number}"), &[Figure::Job, Figure::Number], None),
        // Instances that nobody counts still differ by their ids.
        (_, None, Some(id)) => composed(format!("{job}/{id}"), &[Figure::Job, Figure::Instance], None),
        (_, None, None) => composed(
            format!("{job}/algo-1"),
            &[Figure::Job],
            Some("instance number 1, as no source has a number or an id"),
        ),
    }
}

fn no_id(instance: Option<&str>) -> Option<&'static str> {
    instance.is_none().then_some("the host name in place of the instance id, which no source has")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Figure::{Endpoint, Host, Instance, Job, Number, Variant};

    #[test]
    fn each_kind_has_its_documented_form() {
        let all = [(Job, "j"), (Number, "3"), (Instance, "i-1"), (Endpoint, "e"), (Variant, "v")];
        let without = |figures: &[Figure]| -> Vec<(Figure, &'static str)> {
            all.into_iter().filter(|(figure, _)| !figures.contains(figure)).collect()
        };
        let (algo, id) = (&[Job, Number][..], &[Job, Instance][..]);
        for (kind, missing, host, of, guessed) in [
            (JobKind::Training, &[][..], "j/algo-3", algo, false),
            (JobKind::Processing, &[], "j/algo-3", algo, false),
            (JobKind::Training, &[Number], "j/i-1", id, false),
            (JobKind::Training, &[Number, Instance], "j/algo-1", &[Job], true),
            (JobKind::Training, &[Job], "name", &[Host], true),
            (JobKind::Transform, &[], "j/i-1", id, false),
            (JobKind::Transform, &[Instance], "j/name", &[Job, Host], true),
            (JobKind::Transform, &[Job], "name", &[Host], true),
            (JobKind::Endpoint, &[], "e/v/i-1", &[Endpoint, Variant, Instance], false),
            (JobKind::Endpoint, &[Instance], "e/v/name", &[Endpoint, Variant, Host], true),
            (JobKind::Endpoint, &[Variant], "name", &[Host], true),
        ] {
            let known = without(missing);
            let answer = |figure| known.iter().find(|(own, _)| *own == figure).map(|(_, text)| *text);
            let composed = compose(kind, answer, None, "name");
            assert_eq!((composed.host.as_str(), &composed.of[..]), (host, of), "{kind:?} without {missing:?}");
            assert_eq!(composed.guess.is_some(), guessed, "{kind:?} without {missing:?}");
            let given = compose(kind, answer, Some("mine"), "name");
            assert_eq!((given.host.as_str(), &given.of[..], given.guess), ("mine", &[Host][..], None));
        }
    }
}
