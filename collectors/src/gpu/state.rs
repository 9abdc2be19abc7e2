//! The state of one GPU, and what to do next about it.
//!
//! - An answer makes a GPU ok at once, whatever it was before.
//! - Every failure has a state, whose word is the label `reason`, and a next step: ask again, enumerate again, or load
//!   the library again.
//! - Failures of the same GPU in a row are asked about ever more seldom, from [`FIRST_WAIT`] to [`LONGEST_WAIT`]: calls
//!   to a sick GPU are slow, and can wedge the driver for the healthy ones. What passes by itself is asked at every
//!   tick.
//! - A GPU whose MIG instances were replaced is ok: it answers, and its own handle stays good. That its instances are
//!   others is told by their series, and by a counter.
//! - One value for each GPU, and nothing shared: no GPU's state depends on another's.
//!
//! Source of the codes: nvml.h 13.4, nvmlReturn_t.

use std::time::{Duration, Instant};

/// The wait after a first failure.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No wait is longer, so that a GPU that was reset is back within a minute.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What came of asking a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered.
    Answered,
    /// It answered with an nvmlReturn_t other than 0. A call that is merely not supported by a good GPU, and NOT_FOUND
    /// of its sample ring, are no outcome of asking the GPU: they are not told to this machine.
    Refused(u32),
    /// It answered too late: a driver on its way to be wedged. Of calls that never return the watchdog tells.
    TimedOut,
}

/// How a GPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    Ok,
    /// Fell off the bus.
    Lost,
    ResetRequired,
    NoPermission,
    /// The operating system keeps the device from us: its device cgroup.
    Blocked,
    NotSupported,
    /// Does not answer in time.
    Stuck,
    /// The driver's handle or name for it means nothing any more: it was taken away.
    Gone,
    InsufficientPower,
    IrqIssue,
    CorruptedInforom,
    InUse,
    /// Asked too early; it passes.
    NotReady,
    /// The driver is not loaded, or not by this library.
    DriverNotLoaded,
    /// The driver was replaced below the library.
    DriverMismatch,
    /// Any other error.
    Failed,
}

impl State {
    /// The value of the label `reason`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Lost => "lost",
            Self::ResetRequired => "reset_required",
            Self::NoPermission => "no_permission",
            Self::Blocked => "blocked",
            Self::NotSupported => "not_supported",
            Self::Stuck => "stuck",
            Self::Gone => "gone",
            Self::InsufficientPower => "insufficient_power",
            Self::IrqIssue => "irq_issue",
            Self::CorruptedInforom => "corrupted_inforom",
            Self::InUse => "in_use",
            Self::NotReady => "not_ready",
            Self::DriverNotLoaded => "driver_not_loaded",
            Self::DriverMismatch => "driver_mismatch",
            Self::Failed => "failed",
        }
    }

    /// Every state there is.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests of all states"))]
    pub(super) const ALL: [Self; 16] = [
        Self::Ok,
        Self::Lost,
        Self::ResetRequired,
        Self::NoPermission,
        Self::Blocked,
        Self::NotSupported,
        Self::Stuck,
        Self::Gone,
        Self::InsufficientPower,
        Self::IrqIssue,
        Self::CorruptedInforom,
        Self::InUse,
        Self::NotReady,
        Self::DriverNotLoaded,
        Self::DriverMismatch,
        Self::Failed,
    ];
}

/// What to do about a GPU, once [`Health::is_due`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask it again.
    Ask,
    /// Enumerate GPUs again, by index and never by UUID: that fails while *another* GPU is lost.
    Enumerate,
    /// Drop everything of the library and load it again. A last resort: what is open now may not be opened again, as
    /// where a device cgroup has closed since.
    Initialise,
}

impl From<Outcome> for State {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Answered => Self::Ok,
            Outcome::TimedOut => Self::Stuck,
            Outcome::Refused(code) => Self::of_code(code),
        }
    }
}

impl State {
    fn of_code(code: u32) -> Self {
        match code {
            0 => Self::Ok,
            1 | 9 | 12 => Self::DriverNotLoaded, // UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND
            2 | 6 | 28 => Self::Gone,            // INVALID_ARGUMENT, NOT_FOUND, GPU_NOT_FOUND
            // NOT_SUPPORTED, FUNCTION_NOT_FOUND, VGPU_ECC_NOT_SUPPORTED, FREQ_NOT_SUPPORTED,
            // ARGUMENT_VERSION_MISMATCH, DEPRECATED, RESET_TYPE_NOT_SUPPORTED
            3 | 13 | 22 | 24 | 25 | 26 | 30 => Self::NotSupported,
            4 => Self::NoPermission,
            8 => Self::InsufficientPower,
            10 => Self::Stuck, // TIMEOUT
            11 => Self::IrqIssue,
            14 => Self::CorruptedInforom,
            15 => Self::Lost,
            16 => Self::ResetRequired,
            17 => Self::Blocked, // OPERATING_SYSTEM
            18 => Self::DriverMismatch,
            19 => Self::InUse,
            21 | 27 => Self::NotReady, // NO_DATA, NOT_READY
            // ALREADY_INITIALIZED, INSUFFICIENT_SIZE, MEMORY, INSUFFICIENT_RESOURCES, INVALID_STATE, UNKNOWN, and
            // whatever a newer driver invents.
            _ => Self::Failed,
        }
    }

    fn next(self) -> Next {
        match self {
            Self::Gone => Next::Enumerate,
            Self::DriverNotLoaded | Self::DriverMismatch => Next::Initialise,
            _ => Next::Ask,
        }
    }

    /// The wait after the `failures`th failure in a row.
    fn wait(self, failures: u32) -> Duration {
        match self {
            Self::Ok | Self::NotReady => Duration::ZERO,
            _ => FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT),
        }
    }
}

/// The health of one GPU over time. What it is called and how it looks is remembered by the caller, also while it is
/// lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    state: State,
    failures: u32,
    /// `None` for at the next tick.
    due: Option<Instant>,
}

impl Default for Health {
    /// A GPU that was enumerated and not asked yet.
    fn default() -> Self {
        Self { state: State::NotReady, failures: 0, due: None }
    }
}

impl Health {
    /// Takes in what came of asking, at the monotonic time `now`.
    pub(super) fn observe(&mut self, outcome: Outcome, now: Instant) {
        self.state = outcome.into();
        self.failures = if self.state == State::Ok { 0 } else { self.failures.saturating_add(1) };
        let wait = self.state.wait(self.failures);
        self.due = if wait.is_zero() { None } else { now.checked_add(wait) };
    }

    /// How the GPU is, as far as is known.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// What to do about it.
    pub(super) fn next(&self) -> Next {
        self.state.next()
    }

    /// Whether to do it at this tick.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every code of nvml.h 13.4, the state it means and what to do.
    const CODES: [(u32, State, Next); 32] = [
        (0, State::Ok, Next::Ask),
        (1, State::DriverNotLoaded, Next::Initialise),
        (2, State::Gone, Next::Enumerate),
        (3, State::NotSupported, Next::Ask),
        (4, State::NoPermission, Next::Ask),
        (5, State::Failed, Next::Ask),
        (6, State::Gone, Next::Enumerate),
        (7, State::Failed, Next::Ask),
        (8, State::InsufficientPower, Next::Ask),
        (9, State::DriverNotLoaded, Next::Initialise),
        (10, State::Stuck, Next::Ask),
        (11, State::IrqIssue, Next::Ask),
        (12, State::DriverNotLoaded, Next::Initialise),
        (13, State::NotSupported, Next::Ask),
        (14, State::CorruptedInforom, Next::Ask),
        (15, State::Lost, Next::Ask),
        (16, State::ResetRequired, Next::Ask),
        (17, State::Blocked, Next::Ask),
        (18, State::DriverMismatch, Next::Initialise),
        (19, State::InUse, Next::Ask),
        (20, State::Failed, Next::Ask),
        (21, State::NotReady, Next::Ask),
        (22, State::NotSupported, Next::Ask),
        (23, State::Failed, Next::Ask),
        (24, State::NotSupported, Next::Ask),
        (25, State::NotSupported, Next::Ask),
        (26, State::NotSupported, Next::Ask),
        (27, State::NotReady, Next::Ask),
        (28, State::Gone, Next::Enumerate),
        (29, State::Failed, Next::Ask),
        (30, State::NotSupported, Next::Ask),
        (999, State::Failed, Next::Ask),
    ];

    fn after(outcomes: &[Outcome], start: Instant) -> Health {
        let mut health = Health::default();
        outcomes.iter().zip(0..).for_each(|(outcome, i)| health.observe(*outcome, start + Duration::from_secs(i)));
        health
    }

    #[test]
    fn every_code_has_a_state_and_a_next_step() {
        let now = Instant::now();
        for (code, state, next) in CODES {
            let health = after(&[Outcome::Refused(code)], now);
            assert_eq!((health.state(), health.next()), (state, next), "{code}");
        }
        for code in [31, 100, 998, u32::MAX] {
            assert_eq!(after(&[Outcome::Refused(code)], now).state(), State::Failed, "{code}");
        }
    }

    #[test]
    fn words_are_distinct() {
        let mut words = State::ALL.map(State::as_str);
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(CODES.iter().all(|(_, state, _)| State::ALL.contains(state)));
    }

    #[test]
    fn a_lost_gpu_is_asked_ever_more_seldom_and_a_hurried_one_at_every_tick() {
        let now = Instant::now();
        let waits = |outcome| {
            let mut health = Health::default();
            [(); 9].map(|()| {
                health.observe(outcome, now);
                health.due.map_or(0, |due| (due - now).as_secs())
            })
        };
        assert_eq!(waits(Outcome::Refused(15)), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(waits(Outcome::Refused(27)), [0; 9]);
        assert!(Health::default().is_due(now));
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Answered),
            Just(Outcome::TimedOut),
            (0..32usize).prop_map(|i| Outcome::Refused(CODES[i].0)),
            any::<u32>().prop_map(Outcome::Refused),
        ]
    }

    proptest! {
        // For all histories: a GPU that answers is ok at once and asked at every tick; one that does not is not ok, and
        // asked again within the longest wait, at whatever failure it is.
        #[test]
        fn an_answer_heals_at_once_and_no_wait_is_too_long(
            history in proptest::collection::vec(outcome(), 0..100),
            failures: u32,
            last in outcome(),
        ) {
            let start = Instant::now();
            let now = start + Duration::from_secs(1000);
            let mut health = after(&history, start);
            health.failures = health.failures.max(failures);
            health.observe(last, now);
            prop_assert_eq!(health.state() == State::Ok, matches!(last, Outcome::Answered | Outcome::Refused(0)));
            prop_assert!(health.is_due(now + LONGEST_WAIT));
            health.observe(Outcome::Answered, now);
            prop_assert_eq!((health.state(), health.next(), health.is_due(now)), (State::Ok, Next::Ask, true));
        }

        // For all histories of two GPUs, however they alternate: each ends as if it were alone.
        #[test]
        fn no_gpu_changes_another(history in proptest::collection::vec((any::<bool>(), outcome()), 0..50)) {
            let now = Instant::now();
            let mut both = [Health::default(), Health::default()];
            for (second, outcome) in &history {
                both[usize::from(*second)].observe(*outcome, now);
            }
            for (gpu, health) in both.iter().enumerate() {
                let mut alone = Health::default();
                let own = history.iter().filter(|(second, _)| usize::from(*second) == gpu);
                own.for_each(|(_, outcome)| alone.observe(*outcome, now));
                prop_assert_eq!(health, &alone);
            }
        }
    }
}
