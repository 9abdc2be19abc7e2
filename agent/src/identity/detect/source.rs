//! One place that was asked, what it said, or why it said nothing.

use std::fmt;

use crate::identity::is_valid;

/// A part of the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The Host whole.
    Host,
    /// training, processing, transform or endpoint.
    Kind,
    Job,
    /// Which instance of the job: 1 and up, N of `algo-N`.
    Number,
    Instance,
    Endpoint,
    Variant,
}

impl Figure {
    pub(crate) const ALL: [Self; 7] =
        [Self::Host, Self::Kind, Self::Job, Self::Number, Self::Instance, Self::Endpoint, Self::Variant];

    /// The option that gives it, which is also its name for people.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Kind => "job-kind",
            Self::Job => "job-name",
            Self::Number => "instance-number",
            Self::Instance => "instance-id",
            Self::Endpoint => "endpoint-name",
            Self::Variant => "variant-name",
        }
    }
}

/// Whose the place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    Options,
    SageMaker,
    HyperPod,
    Kubernetes,
    Ecs,
    Slurm,
    Torchrun,
    Ec2,
    System,
}

impl Platform {
    /// A word for a label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Options => "option",
            Self::SageMaker => "sagemaker",
            Self::HyperPod => "hyperpod",
            Self::Kubernetes => "kubernetes",
            Self::Ecs => "ecs",
            Self::Slurm => "slurm",
            Self::Torchrun => "torchrun",
            Self::Ec2 => "ec2",
            Self::System => "host_name",
        }
    }

    /// Whether another answer than that of its betters is worth a warning. An option is meant to differ; a rendezvous
    /// has a name and ranks of its own, and a machine an id of its own beside that of the task on it.
    pub(super) fn can_conflict(self) -> bool {
        matches!(self, Self::SageMaker | Self::Kubernetes | Self::Ecs | Self::Slurm)
    }
}

/// Why a place said nothing, or less than it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It is not there: the usual case, and no fault.
    Missing,
    /// It is there and cannot be read.
    Unreadable(String),
    /// What it says cannot be understood: where, and what was expected.
    Malformed(String),
    /// It is fine and has no answer, for this reason.
    Nothing(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::Nothing(why) => f.write_str(why),
        }
    }
}

/// One place that was asked.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub platform: Platform,
    /// The place as a person would name it: `environment TRAINING_JOB_NAME`.
    pub name: String,
    pub claims: Vec<(Figure, String)>,
    /// `None` where it said all that it could.
    pub silence: Option<Silence>,
}

impl Source {
    pub(crate) fn new(platform: Platform, name: impl Into<String>) -> Self {
        Self { platform, name: name.into(), claims: Vec::new(), silence: None }
    }

    /// A place that is not there.
    pub(crate) fn missing(platform: Platform, name: impl Into<String>) -> Self {
        Self { silence: Some(Silence::Missing), ..Self::new(platform, name) }
    }

    /// An environment variable as a place; `said` makes claims of its value.
    pub(super) fn variable(
        platform: Platform,
        name: &str,
        value: Option<String>,
        said: impl FnOnce(Self, &str) -> Self,
    ) -> Self {
        let place = format!("environment {name}");
        match value {
            Some(value) => said(Self::new(platform, place), &value),
            None => Self::missing(platform, place),
        }
    }

    pub(super) fn silent(mut self, why: Silence) -> Self {
        self.silence = Some(why);
        self
    }

    /// What the place says of a figure. `key` names where in it that stands, for the message about a bad value.
    pub(crate) fn claim(mut self, figure: Figure, key: &str, text: &str) -> Self {
        let found = excerpt(text);
        if figure == Figure::Number {
            match text.trim().parse::<u32>() {
                Ok(number) if number > 0 => self.claims.push((figure, number.to_string())),
                _ => return self.malformed(format!("{key} {found}, expected a whole number from 1 on")),
            }
        } else if is_valid(text) {
            self.claims.push((figure, text.to_owned()));
        } else {
            let expected = "expected up to 1024 bytes of text without control characters";
            return self.malformed(format!("{key} {found}, {expected}"));
        }
        self
    }

    /// As [`claim`](Self::claim), of an index that counts from 0.
    pub(super) fn claim_index(self, key: &str, text: &str) -> Self {
        match text.trim().parse::<u32>().ok().and_then(|index| index.checked_add(1)) {
            Some(number) => self.claim(Figure::Number, key, &number.to_string()),
            None => self.malformed(format!("{key} {}, expected a whole number from 0 on", excerpt(text))),
        }
    }

    pub(super) fn malformed(self, what: String) -> Self {
        self.silent(Silence::Malformed(what))
    }

    pub(crate) fn answer(&self, figure: Figure) -> Option<&str> {
        self.claims.iter().find(|(own, _)| *own == figure).map(|(_, text)| text.as_str())
    }
}

/// In quotes, escaped and short, so that a message stays one line whatever a file holds.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_value_is_no_claim_and_is_named() {
        for (figure, text) in [
            (Figure::Job, ""),
            (Figure::Job, " "),
            (Figure::Job, "a\nb"),
            (Figure::Number, "0"),
            (Figure::Number, "-1"),
            (Figure::Number, "4294967296"),
        ] {
            let source = Source::new(Platform::SageMaker, "s").claim(figure, "k", text);
            assert!(source.claims.is_empty(), "{text:?}");
            let silence = source.silence.expect("a reason").to_string();
            assert!(silence.starts_with("malformed: k \"") && silence.contains("expected"), "{silence}");
            assert!(!silence.contains('\n'), "one line: {silence}");
        }
        let number = Source::new(Platform::Slurm, "s").claim_index("SLURM_NODEID", "0");
        assert_eq!(number.answer(Figure::Number), Some("1"));
        let most = Source::new(Platform::Slurm, "s").claim_index("SLURM_NODEID", &u32::MAX.to_string());
        assert!(most.claims.is_empty() && most.silence.is_some());
    }
}
