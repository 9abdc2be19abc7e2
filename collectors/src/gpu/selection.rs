//! Which GPUs are measured.

use std::fmt;
use std::str::FromStr;

/// The GPUs to measure. As text: `all`, `none`, or indices and UUIDs between commas, such as `0,2` or `GPU-…`.
///
/// An index is NVML's, which counts by bus address what this process may see: it differs from CUDA's where
/// CUDA_VISIBLE_DEVICES or CUDA_DEVICE_ORDER is set, and begins at 0 in every container. UUIDs stay. A MIG instance
/// cannot be chosen: those that this process may see are measured with their GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All that the driver shows.
    #[default]
    All,
    /// These, whether they are there or not; none if empty.
    These(Vec<Choice>),
}

/// One GPU, by what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// NVML's index.
    Index(u32),
    /// `GPU-` and so on.
    Uuid(String),
}

impl Selection {
    /// Whether no GPU is to be measured.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::These(choices) if choices.is_empty())
    }

    pub(super) fn has(&self, index: u32, uuid: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(choices) => choices.iter().any(|choice| choice.is(index, uuid)),
        }
    }

    /// The GPUs that were asked for by name.
    pub(super) fn choices(&self) -> &[Choice] {
        match self {
            Self::All => &[],
            Self::These(choices) => choices,
        }
    }
}

impl Choice {
    pub(super) fn is(&self, index: u32, uuid: &str) -> bool {
        match self {
            Self::Index(chosen) => *chosen == index,
            Self::Uuid(chosen) => chosen == uuid,
        }
    }
}

/// The text is no selection: expected `all`, `none`, or indices and UUIDs between commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSelection;

impl fmt::Display for NoSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected all, none, or indices and UUIDs between commas, such as 0,2 or GPU-...; MIG instances are \
             measured with their GPU",
        )
    }
}

impl std::error::Error for NoSelection {}

impl FromStr for Selection {
    type Err = NoSelection;

    fn from_str(text: &str) -> Result<Self, NoSelection> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::These(Vec::new())),
            text => text.split(',').map(|one| one.trim().parse()).collect::<Result<_, _>>().map(Self::These),
        }
    }
}

impl FromStr for Choice {
    type Err = NoSelection;

    fn from_str(text: &str) -> Result<Self, NoSelection> {
        let is_uuid = text.strip_prefix("GPU-").is_some_and(|rest| {
            (1..=80).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
        match text.parse() {
            Ok(index) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self::Index(index)),
            _ if is_uuid => Ok(Self::Uuid(text.to_owned())),
            _ => Err(NoSelection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_text_is_taken_and_bad_is_not() {
        assert_eq!("all".parse(), Ok(Selection::All));
        assert!("none".parse::<Selection>().expect("none").is_none());
        let both = Selection::These(vec![Choice::Index(2), Choice::Uuid("GPU-1a-2".into())]);
        assert_eq!("2, GPU-1a-2".parse(), Ok(both));
        for bad in ["", "2,", "-1", "+1", "one", "GPU-", "GPU-\u{e9}", "MIG-1", "all,1", "4294967296"] {
            assert_eq!(bad.parse::<Selection>(), Err(NoSelection), "{bad:?}");
        }
    }
}
