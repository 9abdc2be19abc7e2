//! XIDs: the driver's numbers for what went wrong on a GPU, counted as they come.
//!
//! Counted from when the GPU was first asked: the driver keeps none from before, and has no time stamps. It delivers
//! neither XID 79 (fallen off the bus) nor 119 and 120 by this way (github.com/NVIDIA/DCGM/issues/162); a loss is
//! counted by what calls answer.
//!
//! Never run on a real GPU so far: only on a double of the driver.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::backoff::Backoff;
use super::driver::{Event, Handle};
use super::xid::XidClass;
use crate::catalogue::{GPU_XID_ERRORS, GPU_XID_LAST};
use crate::sample::{Device, Sample};

/// More events than a tick has time for wait for the next.
const MOST_EVENTS: usize = 64;
/// More numbers than ever come from one GPU; further ones count together, so that a page is bounded.
const MOST_XIDS: usize = 64;
/// The label of those.
const OTHER: &str = "other";
/// An XID that comes again and again is logged again after so long a silence.
const QUIET: Duration = Duration::from_secs(60);

/// The XIDs of one GPU, from all its drivers and handles.
#[derive(Default)]
pub(super) struct Xids {
    seen: Vec<Seen>,
    backoff: Backoff,
}

/// One number.
struct Seen {
    /// `None` for all beyond [`MOST_XIDS`].
    xid: Option<u64>,
    count: u64,
    heard: Instant,
    /// Seconds since 1970.
    last: f64,
    /// With the class.
    errors: Device,
    /// Without it.
    times: Device,
}

impl Xids {
    /// Takes what the driver has to tell. Whether something other than an XID was among it.
    pub(super) fn poll(&mut self, handle: &mut dyn Handle, gpu: &Device, now: Instant) -> bool {
        let mut changed = false;
        if !self.backoff.is_due(now) {
            return changed;
        }
        for _ in 0..MOST_EVENTS {
            match handle.event() {
                Ok(Some(Event::Xid(xid))) => self.count(xid, gpu, now, SystemTime::now()),
                Ok(Some(Event::Changed)) => changed = true,
                Ok(None) => {
                    self.backoff.answered();
                    break;
                }
                Err(code) => {
                    // A GPU that is not well is asked seldom anyway.
                    if code.is_of_the_call() {
                        self.backoff.refused(now);
                    }
                    break;
                }
            }
        }
        changed
    }

    fn count(&mut self, xid: u64, gpu: &Device, now: Instant, wall: SystemTime) {
        let last = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1e3;
        let known = self.seen.iter().any(|seen| seen.xid == Some(xid));
        let xid = (known || self.seen.len() < MOST_XIDS).then_some(xid);
        match self.seen.iter_mut().find(|seen| seen.xid == xid) {
            Some(seen) => {
                if now.saturating_duration_since(seen.heard) >= QUIET {
                    seen.log();
                }
                seen.count = seen.count.saturating_add(1);
                (seen.heard, seen.last) = (now, last);
            }
            None => {
                let [errors, times] = labels(xid, gpu);
                let seen = Seen { xid, count: 1, heard: now, last, errors, times };
                seen.log();
                self.seen.push(seen);
            }
        }
    }

    /// The GPU has other labels now.
    pub(super) fn rename(&mut self, gpu: &Device) {
        for seen in &mut self.seen {
            [seen.errors, seen.times] = labels(seen.xid, gpu);
        }
    }

    /// Appends every XID that ever came, also of a GPU that is lost now.
    pub(super) fn push(&self, out: &mut Vec<Sample>) {
        for seen in &self.seen {
            out.push(Sample::of(&GPU_XID_ERRORS, &seen.errors, seen.count as f64));
            out.push(Sample::of(&GPU_XID_LAST, &seen.times, seen.last));
        }
    }
}

impl Seen {
    fn log(&self) {
        let labels: Vec<&str> = self.errors.values().collect();
        if let [index, uuid, xid, class] = labels.as_slice() {
            log::warn!("GPU {index} ({uuid}): XID {xid}, class {class}");
        }
    }
}

/// Those of the count and of the time.
fn labels(xid: Option<u64>, gpu: &Device) -> [Device; 2] {
    let number = xid.map_or_else(|| OTHER.into(), |xid| xid.to_string());
    let class = xid.map_or(XidClass::Unknown, XidClass::of).as_str();
    let with = |more: &[&str]| Device::new(gpu.values().chain(more.iter().copied()));
    [with(&[&number, class]), with(&[&number])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(xids: &Xids) -> Vec<(Vec<String>, f64)> {
        let mut out = Vec::new();
        xids.push(&mut out);
        let counts = out.into_iter().filter(|sample| std::ptr::eq(sample.metric, &GPU_XID_ERRORS));
        let words = |device: &Device| device.values().skip(2).map(str::to_owned).collect();
        counts.map(|sample| (sample.device.as_ref().map(words).unwrap_or_default(), sample.value)).collect()
    }

    proptest! {
        // Whatever numbers a driver makes up: every event is counted once, and there are never more series than the
        // bound and one.
        #[test]
        fn every_event_counts_and_the_page_is_bounded(numbers in prop::collection::vec(any::<u8>(), 0..400)) {
            let gpu = Device::new(["0", "GPU-a"]);
            let mut xids = Xids::default();
            for number in &numbers {
                xids.count(u64::from(*number), &gpu, Instant::now(), SystemTime::now());
            }
            let page = page(&xids);
            prop_assert!(page.len() <= MOST_XIDS + 1);
            prop_assert_eq!(page.iter().map(|(_, count)| count).sum::<f64>(), numbers.len() as f64);
            for (labels, count) in page.iter().filter(|(labels, _)| labels[0] != OTHER) {
                let true_count = numbers.iter().filter(|number| number.to_string() == labels[0]).count();
                prop_assert_eq!(*count, true_count as f64);
            }
        }
    }

    #[test]
    fn the_labels_follow_the_gpu_and_the_count_stays() {
        let mut xids = Xids::default();
        let then = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        for xid in [79, 79, 31] {
            xids.count(xid, &Device::new(["0", "GPU-a"]), Instant::now(), then);
        }
        xids.rename(&Device::new(["5", "GPU-a"]));
        let mut out = Vec::new();
        xids.push(&mut out);
        let labels =
            |sample: &Sample| sample.device.as_ref().map(|device| device.values().collect::<Vec<_>>().join(" "));
        let found: Vec<_> = out.iter().map(|sample| (labels(sample), sample.value)).collect();
        let expected = [
            ("5 GPU-a 79 hardware", 2.0),
            ("5 GPU-a 79", 1_700_000_000.25),
            ("5 GPU-a 31 application", 1.0),
            ("5 GPU-a 31", 1_700_000_000.25),
        ];
        assert_eq!(found, expected.map(|(labels, value)| (Some(labels.to_owned()), value)));
    }
}
