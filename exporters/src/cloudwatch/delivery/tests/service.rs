//! A service that does what it is told to.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use super::super::*;
use super::{elapsed, true_clock};
use crate::datum::{Figures, Resolution};

/// What the service does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Play {
    Accept,
    Throttle,
    /// No answer; not stored.
    Away,
    /// No answer; stored.
    Lost,
    /// As `Away`, after ten seconds.
    Hang,
    /// Stored; the answer comes after five seconds.
    Slow,
    Deny,
    TooLarge,
    /// Answers 400 whatever is in it.
    Odd,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub plays: VecDeque<Play>,
    /// After the plays.
    pub then: Option<Play>,
    /// SampleCount (or the number of plain values) by series and start.
    pub stored: BTreeMap<(String, u64, Resolution), f64>,
    pub sizes: Vec<usize>,
    /// Names that the service refuses, and whether it says which.
    pub poison: Vec<String>,
    pub names_members: bool,
    pub times: Vec<Duration>,
    pub starts: Vec<Vec<u64>>,
    pub behind: Duration,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Fake(pub Rc<RefCell<World>>);

impl Fake {
    fn store(&self, data: &[Datum]) {
        let mut world = self.0.borrow_mut();
        for datum in data {
            let count = match &datum.figures {
                Figures::Value(_) => 1.0,
                Figures::Distribution { statistics, .. } => statistics.count() as f64,
            };
            *world.stored.entry((datum.name.clone(), datum.start, datum.resolution)).or_default() += count;
        }
    }
}

impl Service for Fake {
    async fn put(&self, _: &str, data: &[Datum]) -> Answer {
        let play = {
            let mut world = self.0.borrow_mut();
            world.sizes.push(data.len());
            world.times.push(elapsed());
            world.starts.push(data.iter().map(|datum| datum.start).collect());
            world.plays.pop_front().or(world.then).unwrap_or(Play::Accept)
        };
        if play == Play::Hang {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let members: Vec<usize> = {
            let world = self.0.borrow();
            (0..data.len()).filter(|at| world.poison.contains(&data[*at].name)).collect()
        };
        let verdict = match play {
            Play::Accept if !members.is_empty() => {
                let members = if self.0.borrow().names_members { members } else { Vec::new() };
                Verdict::Poisoned { members, code: "InvalidParameterValue".into(), message: "bad".into() }
            }
            Play::Accept | Play::Slow => {
                self.store(data);
                if play == Play::Slow {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
                Verdict::Accepted
            }
            Play::Lost => {
                self.store(data);
                Verdict::Unavailable { ambiguous: true, retry_after: None, what: "reset".into() }
            }
            Play::Throttle => Verdict::Throttled { retry_after: None },
            Play::Away | Play::Hang => {
                Verdict::Unavailable { ambiguous: play == Play::Hang, retry_after: None, what: "away".into() }
            }
            Play::Deny => {
                Verdict::Denied { code: "ExpiredToken".into(), message: "expired".into(), remedy: "renew it".into() }
            }
            Play::TooLarge => Verdict::TooLarge,
            Play::Odd => Verdict::Poisoned { members: Vec::new(), code: "What".into(), message: "what".into() },
        };
        let date = true_clock().checked_sub(self.0.borrow().behind);
        Answer { verdict, date, uncompressed: 1000, sent: 100 }
    }
}
