//! What can go wrong between a client and CloudWatch.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

/// How one request is answered instead of well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 400 Throttling. Not stored.
    Throttle,
    /// 500 InternalServiceError. Not stored.
    Internal,
    /// 503 with a page of HTML, as a load balancer has it. Not stored.
    Unavailable,
    /// 413 with plain text. Not stored.
    TooLarge,
    /// 403 ExpiredTokenException. Not stored.
    ExpiredToken,
    /// The connection is reset before the body is read. Not stored.
    ResetBeforeBody,
    /// The connection is reset instead of an answer, but the data are stored.
    ResetAfterStoring,
    /// The request is read and never answered. Not stored.
    Hang,
    /// The request is stored and never answered.
    HangAfterStoring,
    /// Stored; the answer comes byte by byte with this pause between.
    Drip(Duration),
    /// Stored; the Date header of the answer is this many seconds off.
    DateOff(i64),
}

/// Every fault by its name on the command line, with the parameter it has there.
pub(crate) const NAMES: [(&str, Fault); 11] = [
    ("throttle", Fault::Throttle),
    ("internal", Fault::Internal),
    ("unavailable", Fault::Unavailable),
    ("too-large", Fault::TooLarge),
    ("expired-token", Fault::ExpiredToken),
    ("reset-before-body", Fault::ResetBeforeBody),
    ("reset-after-storing", Fault::ResetAfterStoring),
    ("hang", Fault::Hang),
    ("hang-after-storing", Fault::HangAfterStoring),
    ("drip", Fault::Drip(Duration::from_millis(20))),
    ("date-off", Fault::DateOff(3_600)),
];

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, fault)| *fault).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("no fault {name}; there are {}", names.join(", "))
        })
    }
}

/// Faults drawn at random, the same for the same seed.
#[derive(Debug, Clone)]
pub struct Mix {
    /// What starts the draws.
    pub seed: u64,
    /// The share of requests that meet a fault, 0 to 1.
    pub share: f64,
    /// The faults, all as likely; one that stands twice is twice as likely.
    pub faults: Vec<Fault>,
}

/// Which request meets which fault: first the scripted ones in their order, then the mix.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) queue: VecDeque<Fault>,
    pub(crate) mix: Option<Mix>,
}

impl Script {
    pub(crate) fn next(&mut self) -> Option<Fault> {
        if let Some(fault) = self.queue.pop_front() {
            return Some(fault);
        }
        let mix = self.mix.as_mut()?;
        let (hit, which) = (random(&mut mix.seed), random(&mut mix.seed));
        // 53 bits are what an f64 holds of them.
        let hit = (hit >> 11) as f64 / (1u64 << 53) as f64;
        let which = which.checked_rem(mix.faults.len() as u64)?;
        (hit < mix.share).then(|| mix.faults[which as usize])
    }
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
