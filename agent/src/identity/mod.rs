//! Who this host is: the value of the label `Host`, and the dimensions on CloudWatch.
//!
//! A program says it ([`Builder::host`](crate::Builder::host)). The agent finds it: every place that can know a part of
//! it is asked, the strongest first, and each part has its own winner. To add a place: a file in `detect/`
//! that returns `Source`s, and a line in its one list.

#[cfg(feature = "cli")]
mod detect;
#[cfg(all(any(test, fuzzing), feature = "top", target_os = "linux"))]
pub(crate) use detect::fuzzing;

#[cfg(feature = "cli")]
pub(crate) use detect::{Figure, Identity, Places, Platform, Source, identify, identify_by_options};

use hostgauge_collectors::catalogue::IDENTITY_INFO;
use hostgauge_collectors::{Device, Sample};

use crate::job_kind::JobKind;

/// The host name of the operating system (gethostname(2)); `None` if it has none that can be a label.
pub fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    is_valid(&name).then_some(name)
}

/// Whether a text can be a Host, or a part of one: something that a person can read in one line.
pub fn is_valid(host: &str) -> bool {
    !host.trim().is_empty() && host.len() <= 1024 && !host.chars().any(char::is_control)
}

/// The Host of a machine that does not know its name.
pub const FALLBACK: &str = "localhost";

/// What the series `hostgauge_identity_info` says of the Host beside its value.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Who named it, in a word: `sagemaker`, `host_name`.
    pub source: &'static str,
    /// Whether some part of it is not known.
    pub guessed: bool,
}

/// Of a program that gave its Host, or did not.
pub(crate) fn by_program(given: bool) -> Told {
    Told { source: if given { "program" } else { "host_name" }, guessed: !given }
}

/// The sample that shows it, the same in every round.
pub(crate) fn info(kind: JobKind, told: &Told) -> Sample {
    let guessed = if told.guessed { "true" } else { "false" };
    Sample::of(&IDENTITY_INFO, &Device::new([kind.as_str(), told.source, guessed]), 1.0)
}
