//! Who this host is: the value of the label `Host`.

/// One place that was asked for the Host, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where the answer comes from, as a person would name it.
    pub name: String,
    /// The answer; `None` if the place has none.
    pub answer: Option<String>,
}

/// The host name of the operating system (gethostname(2)); `None` if it has none that can be a label.
pub fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    is_valid(&name).then_some(name)
}

/// Whether a text can be a Host: something that a person can read in one line.
pub fn is_valid(host: &str) -> bool {
    !host.trim().is_empty() && host.len() <= 1024 && !host.chars().any(char::is_control)
}

/// The Host of a machine that does not know its name.
pub const FALLBACK: &str = "localhost";

/// The first answer wins.
pub fn choose(sources: &[Source]) -> &str {
    sources.iter().find_map(|source| source.answer.as_deref()).unwrap_or(FALLBACK)
}
