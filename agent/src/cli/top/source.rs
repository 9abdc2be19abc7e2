//! Where the figures come from: a running agent's page, or sampling of our own. Both are read as the same text.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

    /// Hands a page to `take` at once and at each refresh until that says no more, or nobody can ask for another one.
    pub(super) fn follow(
        self,
        mut refresh: Duration,
        refreshes: &Receiver<Duration>,
        mut take: impl FnMut(Result<Page, String>) -> bool,
    ) {
        while take(self.page()) {
            // A clock before 1970 keeps its pace, if not its phase.
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            match refreshes.recv_timeout(until_refresh(wall, refresh)) {
                Ok(wanted) => refresh = wanted,
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// How long until the next refresh: a tenth after the tick, half an interval off the wall clock's boundaries, of an agent
/// that measures as often. So what is shown is fresh, and a tick that comes a little late is not missed every time.
fn until_refresh(wall: Duration, refresh: Duration) -> Duration {
    let (wall, every) = (wall.as_nanos(), refresh.as_nanos().max(1));
    let left = every - (wall + every * 2 / 5) % every;
    // A timer that fires a little early by this clock has fired.
    let left = if left < every / 20 { left + every } else { left };
    u64::try_from(left).map_or(refresh, Duration::from_nanos)
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Agent(url, _) => write!(f, "attached to {url}"),
            Self::Own(_, interval) => write!(f, "sampling by itself, every {}", humantime::format_duration(*interval)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refresh_comes_soon_after_the_tick() {
        let until = |wall, refresh| until_refresh(Duration::from_millis(wall), Duration::from_millis(refresh));
        for (wall, refresh, expected) in [
            (10_000, 1000, 600),
            (10_600, 1000, 1000),
            (10_599, 1000, 1001), // a timer that fired early
            (10_601, 1000, 999),
            (10_000, 100, 60),
            (10_000, 60_000, 26_000),
            (0, 1000, 600),
        ] {
            assert_eq!(until(wall, refresh), Duration::from_millis(expected), "{wall} {refresh}");
        }
    }

    proptest! {
        #[test]
        fn refreshes_are_their_interval_apart(wall in 0..u64::MAX, milliseconds in 100..3_600_000_u64) {
            let (wall, refresh) = (Duration::from_nanos(wall), Duration::from_millis(milliseconds));
            let left = until_refresh(wall, refresh);
            prop_assert!(left >= refresh / 20 && left < refresh + refresh / 20);
            prop_assert_eq!(until_refresh(wall + left, refresh), refresh);
        }
    }
}
