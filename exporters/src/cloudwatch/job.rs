//! The job: records of the spool on their way to the service, and what became of each datum in them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use super::collapse::collapse;
use super::wire;
use crate::datum::{Datum, Resolution};

/// Milliseconds in a minute.
const MINUTE: u64 = 60_000;

/// The records that a datum came from, with how many of their data it stands for.
type Parts = Vec<(u64, u32)>;

/// One request's worth.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) data: Vec<Datum>,
    parts: Vec<Parts>,
}

/// What became of one record's data.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    left: u32,
    published: u32,
    refused: u32,
}

/// A record all of whose data have an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) sequence: u64,
    pub(super) published: u32,
    pub(super) refused: u32,
}

/// What follows from refusals that named no datum.
#[derive(Debug)]
pub(super) enum Judgement {
    /// Nothing is under suspicion any more; these records are done.
    Guilty(Vec<Done>),
    /// The suspects are to be sent once more.
    Heard,
    /// Nothing at all was taken: whatever is wrong, it is not one datum's fault.
    Open,
}

/// What is on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) namespace: Rc<str>,
    tallies: BTreeMap<u64, Tally>,
    queue: VecDeque<Rc<Batch>>,
    /// Refused alone, by an answer that did not say which datum it was about.
    suspects: Batch,
    /// The suspects were sent once more.
    heard: bool,
    published: bool,
    /// The spool knows that it is on its way.
    pub(super) attempted: bool,
}

impl Batch {
    fn push(&mut self, datum: Datum, parts: Parts) {
        self.data.push(datum);
        self.parts.push(parts);
    }

    fn append(&mut self, mut other: Self) {
        self.data.append(&mut other.data);
        self.parts.append(&mut other.parts);
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self { data: self.data.split_off(at), parts: self.parts.split_off(at) }
    }
}

impl Job {
    /// A job for these records of one namespace, newest first. Data at a resolution of a second that began before
    /// `second_until` (in milliseconds since the Unix epoch) are merged by the minute: CloudWatch would not keep them
    /// any finer.
    pub(super) fn new(namespace: Rc<str>, records: Vec<(u64, Vec<Datum>)>, second_until: u64) -> Self {
        let mut tallies = BTreeMap::new();
        let mut batch = Batch::default();
        let mut minutes: HashMap<_, (Vec<Datum>, Parts)> = HashMap::new();
        for (sequence, data) in records {
            let left = data.iter().map(|datum| datum.periods).sum();
            tallies.insert(sequence, Tally { left, ..Tally::default() });
            for datum in data {
                let part = (sequence, datum.periods);
                if datum.resolution == Resolution::Second && datum.start < second_until {
                    let key = (datum.name.clone(), datum.dimensions.clone(), datum.unit.clone(), datum.start / MINUTE);
                    let (minute, parts) = minutes.entry(key).or_default();
                    minute.push(datum);
                    parts.push(part);
                } else {
                    batch.push(datum, vec![part]);
                }
            }
        }
        let mut minutes: Vec<_> = minutes.into_values().collect();
        minutes.sort_by_key(|(data, _)| std::cmp::Reverse(data.first().map_or(0, |datum| datum.start)));
        for (data, parts) in minutes {
            // One series and one minute: one datum comes back.
            collapse(data).into_iter().for_each(|datum| batch.push(datum, parts.clone()));
        }
        let queue = cut(&namespace, batch);
        Self { namespace, tallies, queue, suspects: Batch::default(), heard: false, published: false, attempted: false }
    }

    /// The records that have no end yet.
    pub(super) fn sequences(&self) -> Vec<u64> {
        self.tallies.keys().copied().collect()
    }

    /// What to send next; `None` when every datum was sent.
    pub(super) fn next(&self) -> Option<Rc<Batch>> {
        self.queue.front().cloned()
    }

    /// Whether something of it has an end already, so that it must not be sent again from its start.
    pub(super) fn is_begun(&self) -> bool {
        self.published || self.tallies.values().any(|tally| tally.published + tally.refused > 0)
    }

    /// The batch sent last was accepted.
    pub(super) fn accepted(&mut self) -> Vec<Done> {
        self.published = true;
        if let Some(batch) = self.queue.pop_front() {
            self.count(&batch, |tally, data| tally.published += data);
        }
        self.done()
    }

    /// The batch sent last was refused because of the data at these places; none: the service did not say which. Where
    /// it says, the rest is sent again; where it does not, the halves are.
    pub(super) fn refused(&mut self, members: &[usize]) -> Vec<Done> {
        let Some(batch) = self.queue.pop_front() else { return Vec::new() };
        let mut batch = Rc::unwrap_or_clone(batch);
        if !members.is_empty() {
            let (mut bad, mut good) = (Batch::default(), Batch::default());
            for (at, (datum, parts)) in batch.data.into_iter().zip(batch.parts).enumerate() {
                if members.contains(&at) { &mut bad } else { &mut good }.push(datum, parts);
            }
            self.count(&bad, |tally, data| tally.refused += data);
            if !good.data.is_empty() {
                self.queue.push_front(Rc::new(good));
            }
        } else if batch.data.len() > 1 {
            let half = batch.split_off(batch.data.len() / 2);
            self.queue.push_front(Rc::new(half));
            self.queue.push_front(Rc::new(batch));
        } else {
            self.suspects.append(batch);
        }
        self.done()
    }

    /// When nothing is left to send: what of the suspects? They are at fault if the service takes others beside them, and
    /// refuses them once more after that. If it takes nothing at all, the fault may lie elsewhere, and nothing is given up.
    pub(super) fn judge(&mut self) -> Judgement {
        if self.suspects.data.is_empty() {
            return Judgement::Guilty(Vec::new());
        }
        if !self.published {
            return Judgement::Open;
        }
        let mut suspects = std::mem::take(&mut self.suspects);
        if self.heard {
            self.count(&suspects, |tally, data| tally.refused += data);
            return Judgement::Guilty(self.done());
        }
        self.heard = true;
        while !suspects.data.is_empty() {
            let one = suspects.split_off(suspects.data.len() - 1);
            self.queue.push_back(Rc::new(one));
        }
        Judgement::Heard
    }

    /// Names of the metrics that are under suspicion.
    pub(super) fn suspects(&self) -> Vec<String> {
        self.suspects.data.iter().map(|datum| datum.name.clone()).collect()
    }

    fn count(&mut self, batch: &Batch, end: impl Fn(&mut Tally, u32)) {
        for (sequence, data) in batch.parts.iter().flatten() {
            if let Some(tally) = self.tallies.get_mut(sequence) {
                tally.left = tally.left.saturating_sub(*data);
                end(tally, *data);
            }
        }
    }

    fn done(&mut self) -> Vec<Done> {
        let mut done = Vec::new();
        self.tallies.retain(|sequence, tally| {
            if tally.left == 0 {
                let Tally { published, refused, .. } = *tally;
                done.push(Done { sequence: *sequence, published, refused });
            }
            tally.left > 0
        });
        done
    }
}

/// Batches within the limits of one request.
fn cut(namespace: &str, batch: Batch) -> VecDeque<Rc<Batch>> {
    let mut queue = VecDeque::new();
    let mut parts = batch.parts.into_iter();
    for data in wire::chunks(namespace, batch.data) {
        let parts = parts.by_ref().take(data.len()).collect();
        queue.push_back(Rc::new(Batch { data, parts }));
    }
    queue
}
