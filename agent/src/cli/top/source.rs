//! Where the figures come from: a running agent's page, or sampling of our own. Both are read as the same text.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hostgauge_collectors::catalogue::BUILD_INFO;

use super::http::Url;
use super::page::Page;
use super::secure::Trust;
use crate::Hostgauge;
use crate::cli::Failure;
use crate::cli::configuration::Configuration;

/// One of both.
#[derive(Debug)]
pub(super) enum Source {
    Agent(Url, Option<Trust>),
    Own(Hostgauge, Duration),
}

impl Source {
    /// The agent at `url`, whether it answers yet or not. Without one: the agent that runs where its page would be by
    /// the configuration, if one does, else sampling of our own.
    pub(super) fn choose(
        configuration: &Configuration,
        url: Option<&String>,
        authorities: Option<&String>,
    ) -> Result<Self, Failure> {
        if let Some(text) = url {
            let url = Url::parse(text).ok_or_else(|| {
                // What stands before the @ may be a password.
                let shown = text.rsplit('@').next().unwrap_or_default().escape_debug();
                Failure::Usage(format!(
                    "--url \"{shown}\": expected http://HOST:PORT or https://NAME:PASSWORD@HOST:PORT of an agent"
                ))
            })?;
            let trust = url.is_secure().then(|| Trust::new(authorities.map(Path::new))).transpose();
            let trust = trust.map_err(|what| Failure::Usage(format!("--url {url}: {what}")))?;
            return Ok(Self::Agent(url, trust));
        }
        let values = &configuration.values;
        if let Some(address) = values.listen.filter(|address| address.port() > 0) {
            let agent = Self::Agent(Url::of(address), None);
            if agent.page().is_ok() {
                return Ok(agent);
            }
        }
        let (_, hostgauge) = crate::cli::agent::builder(configuration).build()?;
        Ok(Self::Own(hostgauge, values.interval))
    }

    /// Nothing is new more often than this.
    pub(super) fn fastest(&self) -> Duration {
        match self {
            Self::Agent(..) => *crate::INTERVALS.start(),
            Self::Own(_, interval) => *interval,
        }
    }

    /// What is true now.
    ///
    /// # Errors
    ///
    /// Why nothing is known.
    fn page(&self) -> Result<Page, String> {
        match self {
            Self::Own(hostgauge, _) => Ok(Page::parse(&hostgauge.page())),
            Self::Agent(url, trust) => {
                let page = Page::parse(&url.get(trust.as_ref())?);
                if page.value(&BUILD_INFO).is_none() {
                    return Err("what answers there is not hostgauge".into());
                }
                Ok(page)
            }
        }
    }

    /// Hands a page to `take` at each refresh until that says no more, or nobody can ask for another refresh.
    pub(super) fn follow(
        self,
        mut refresh: Duration,
        refreshes: &Receiver<Duration>,
        mut take: impl FnMut(Result<Page, String>) -> bool,
    ) {
        let mut due = Instant::now();
        while take(self.page()) {
            // One that comes late because an agent did not answer is not made up for.
            due = (due + refresh).max(Instant::now());
            match refreshes.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(wanted) => {
                    refresh = wanted;
                    due = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Agent(url, _) => write!(f, "attached to {url}"),
            Self::Own(_, interval) => write!(f, "sampling by itself, every {}", humantime::format_duration(*interval)),
        }
    }
}
