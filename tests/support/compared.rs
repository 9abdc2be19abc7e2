//! A scope's figures beside what the kernel counted for its control group meanwhile.

#![allow(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::group::Cgroup;
use super::wait::{SOON, wait_until};
use super::{Agent, Page};

const CPU: &str = "hostgauge_cpu_utilization_percent";

/// From an agent's look at a counter to its page that shows it: more than this takes a machine that is busy beyond all
/// reason.
const SHOWN: Duration = Duration::from_millis(100);

/// A page that came to be between two looks further apart than this says little about the moment of its tick: other
/// work came between.
const PROMPT: Duration = Duration::from_millis(50);

/// The CPU time of a group by a moment.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    seconds: f64,
}

impl Look {
    fn at(group: &Cgroup) -> Self {
        Self { at: Instant::now(), seconds: group.number("cpuacct", "cpuacct.usage") / 1e9 }
    }
}

/// A tick of the agent, which lies between two looks: the later one was taken when its page was seen.
struct Tick {
    page: Page,
    earliest: Look,
    seen: Look,
    prompt: bool,
}

impl Tick {
    fn next(agent: &Agent, group: &Cgroup) -> Self {
        let before = agent.wait_for(SOON, "a first tick", Page::tick);
        let mut looks = VecDeque::from([Look::at(group)]);
        wait_until(SOON, "one more tick", || {
            let page = agent.scrape();
            let seen = Look::at(group);
            if page.tick() != Some(before) {
                let prompt = looks.back().is_some_and(|last| seen.at - last.at < PROMPT);
                return Ok(Self { page, earliest: looks[0], seen, prompt });
            }
            looks.push_back(seen);
            while looks.get(1).is_some_and(|next| seen.at - next.at > SHOWN) {
                looks.pop_front();
            }
            Err(page.text)
        })
    }
}

/// A group's CPU over some ticks, in percent of a core.
pub(crate) struct Compared {
    /// Between two looks at the kernel's counter, each as soon as a tick was seen.
    pub(crate) kernel: f64,
    /// The mean of the agent's samples.
    pub(crate) agent: f64,
    /// How much the agent's counter grew from its first tick to its last.
    pub(crate) grown: f64,
    /// Between which two amounts the kernel's did: both ticks lie between two looks at it. Nothing of that depends on
    /// how even the load was, or how late anybody came.
    pub(crate) range: RangeInclusive<f64>,
}

impl Compared {
    /// At least so many ticks, the first and the last of which were seen as they came; and the page of the last.
    pub(crate) fn over(ticks: u32, agent: &Agent, group: &Cgroup) -> (Self, Page) {
        agent.wait_for(SOON, "a first percentage", |page| page.get(CPU, &[]));
        let next = || Tick::next(agent, group);
        let first = wait_until(2 * SOON, "a tick that is seen as it comes", || {
            Some(next()).filter(|tick| tick.prompt).ok_or_else(|| "it was seen late".into())
        });
        let mut samples = Vec::new();
        let last = wait_until(2 * SOON, "a last tick that is seen as it comes", || {
            let tick = next();
            samples.push(tick.page.value(CPU, &[]));
            let enough = samples.len() >= ticks as usize && tick.prompt;
            if enough { Ok(tick) } else { Err(format!("{} ticks, the last seen late", samples.len())) }
        });
        let percent = |seconds: f64| 100.0 * seconds / (last.seen.at - first.seen.at).as_secs_f64();
        let counter = |page: &Page| page.value("hostgauge_cpu_seconds_total", &[]);
        let compared = Self {
            kernel: percent(last.seen.seconds - first.seen.seconds),
            agent: samples.iter().sum::<f64>() / samples.len() as f64,
            grown: percent(counter(&last.page) - counter(&first.page)),
            range: percent(last.earliest.seconds - first.seen.seconds)
                ..=percent(last.seen.seconds - first.earliest.seconds),
        };
        (compared, last.page)
    }

    /// Fails unless the mean is off by no more points than this, and the counter by nothing.
    pub(crate) fn assert_within(&self, points: f64) {
        assert!((self.agent - self.kernel).abs() <= points, "{self}");
        // A group that is throttled grows by nothing for a while, and then only the rounding differs.
        let (least, most) = (self.range.start() - 1e-4, self.range.end() + 1e-4);
        assert!((least..=most).contains(&self.grown), "{self}");
    }

    /// What the columns of a row are.
    pub(crate) const COLUMNS: &str =
        "kernel, % | agent, mean of samples | difference, points | agent, by its counter | kernel at the same ticks";
}

/// A row of a report.
impl fmt::Display for Compared {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, agent, grown, range } = self;
        let (from, until) = (range.start(), range.end());
        write!(to, "{kernel:.2} | {agent:.2} | {:+.2} | {grown:.2} | {from:.2} to {until:.2}", agent - kernel)
    }
}

/// A page and what the kernel says of the group's memory at its tick, while so much of it is page cache that is not in
/// use.
pub(crate) struct Memory {
    pub(crate) page: Page,
    pub(crate) charged: f64,
    pub(crate) working_set: f64,
    _cache: NamedTempFile,
}

impl Memory {
    /// The kernel may take cache for active or away at any time: what counts is a tick during which it did not.
    pub(crate) fn with_cache(agent: &Agent, group: &Cgroup, megabytes: u32) -> Self {
        let look = || {
            let charged = group.number("memory", "memory.usage_in_bytes");
            [charged, charged - group.row("memory", "memory.stat", "total_inactive_file")]
        };
        wait_until(SOON, "a tick during which the kernel leaves page cache alone", || {
            let cache = group.cache(megabytes);
            let before = look();
            let page = agent.next_tick();
            let [charged, working_set] = look();
            let still = (before[0] - charged).abs() < 1e5 && (before[1] - working_set).abs() < 1e5;
            let written = 1e6 * f64::from(megabytes);
            let enough = charged > written && charged - working_set > written / 2.0;
            if still && enough {
                Ok(Self { page, charged, working_set, _cache: cache })
            } else {
                Err(format!("{before:?} before, {charged} charged and {working_set} in use after"))
            }
        })
    }
}
