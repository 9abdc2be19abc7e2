//! What is known in memory of a segment: a few numbers, and one bit for each record.

use super::Meta;
use super::event::{Event, Partial};
use super::frame::{Found, scan};

/// Sequences that one segment can span, so that no number in a file decides how much memory is taken.
const SPAN: u64 = 16_384;

/// One segment file.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    /// From its name.
    pub(super) number: u64,
    /// The lowest sequence that a record in it can have.
    pub(super) first: u64,
    /// The file's length: what was written whole.
    pub(super) bytes: u64,
    /// Data of its pending records.
    pub(super) data: u64,
    /// The smallest time of the records put into it, `None` without one.
    pub(super) oldest: Option<u64>,
    /// Data of records that are done, of which no file says so yet.
    pub(super) unmarked: u64,
    /// Something in it could not be read.
    pub(super) damaged: bool,
    /// Records put into it, pending or not.
    records: u32,
    bits: Vec<u64>,
}

impl Segment {
    pub(super) fn new(number: u64, first: u64) -> Self {
        Self { number, first, ..Self::default() }
    }

    /// Where a sequence's bit is, if the segment can hold it.
    fn place(&self, sequence: u64) -> Option<(usize, u64)> {
        let index = sequence.checked_sub(self.first).filter(|index| *index < SPAN)?;
        Some(((index / 64) as usize, 1 << (index % 64)))
    }

    pub(super) fn can_hold(&self, sequence: u64) -> bool {
        self.place(sequence).is_some()
    }

    pub(super) fn is_pending(&self, sequence: u64) -> bool {
        self.place(sequence).is_some_and(|(word, bit)| self.bits.get(word).is_some_and(|bits| bits & bit != 0))
    }

    /// How many of its records are pending.
    pub(super) fn pending(&self) -> u32 {
        self.bits.iter().map(|bits| bits.count_ones()).sum()
    }

    /// A record was put into it.
    pub(super) fn add(&mut self, sequence: u64, time: u64, data: u32) {
        let Some((word, bit)) = self.place(sequence) else { return };
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= bit;
        self.records += 1;
        self.data += u64::from(data);
        self.oldest = Some(self.oldest.unwrap_or(time).min(time));
    }

    /// A record of it, with so many data, is done.
    pub(super) fn clear(&mut self, sequence: u64, data: u64) {
        let Some((word, bit)) = self.place(sequence) else { return };
        if self.is_pending(sequence) {
            self.bits[word] &= !bit;
            self.data = self.data.saturating_sub(data);
        }
    }

    /// All of it is done; gives the data that were pending.
    pub(super) fn clear_all(&mut self) -> u64 {
        self.bits.clear();
        std::mem::take(&mut self.data)
    }

    /// Keeps pending only what a checkpoint lists.
    pub(super) fn keep_listed(&mut self, partial: &Partial) {
        let listed = Self { first: partial.first, bits: partial.pending.clone(), ..Self::default() };
        for index in 0..self.bits.len() as u64 * 64 {
            let sequence = self.first.saturating_add(index);
            if !listed.is_pending(sequence) {
                self.clear(sequence, 0);
            }
        }
    }

    /// Keeps pending only these records, those that can be read; gives the data that were thought to be there and are
    /// not.
    pub(super) fn keep_found(&mut self, found: &[(Meta, &[u8])]) -> u64 {
        let before = self.clear_all();
        let records = self.records;
        self.oldest = None;
        found.iter().for_each(|(meta, _)| self.add(meta.sequence, meta.time, meta.data));
        self.records = records;
        before.saturating_sub(self.data)
    }

    /// For a checkpoint, where not every record is pending.
    pub(super) fn partial(&self) -> Option<Partial> {
        (self.pending() < self.records || self.damaged).then(|| Partial {
            segment: self.number,
            first: self.first,
            pending: self.bits.clone(),
        })
    }

    /// The pending records that the file's content holds, oldest first, and only those that are whole.
    pub(super) fn find_pending<'a>(&self, content: &'a [u8]) -> Vec<(Meta, &'a [u8])> {
        let mut found: Vec<(Meta, &[u8])> = Vec::new();
        for item in scan(content) {
            let Found::Event { event: Event::Record { sequence, time, data, .. }, payload: Some(payload) } = item
            else {
                continue;
            };
            let repeated = found.last().is_some_and(|(meta, _)| meta.sequence >= sequence);
            if self.is_pending(sequence) && !repeated {
                found.push((Meta { sequence, time, data, payload_len: payload.len() }, payload));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_for_each_record() {
        let mut segment = Segment::new(1, 100);
        (100..300).for_each(|sequence| segment.add(sequence, 1000 - sequence, 2));
        assert_eq!((segment.pending(), segment.data, segment.oldest), (200, 400, Some(701)));
        assert_eq!(segment.partial(), None);
        segment.clear(164, 2);
        assert!(!segment.is_pending(164) && segment.is_pending(163) && segment.is_pending(165));
        assert_eq!((segment.pending(), segment.data), (199, 398));
        let partial = segment.partial().unwrap();
        let mut again = Segment::new(1, 90);
        (90..300).for_each(|sequence| again.add(sequence, 0, 1));
        again.keep_listed(&partial);
        assert_eq!(again.pending(), 199, "the list counts from its own first");
        assert!(!again.is_pending(164) && !again.is_pending(99));
    }

    #[test]
    fn no_sequence_takes_more_memory_than_the_span() {
        let mut segment = Segment::new(1, 100);
        for sequence in [0, 99, 100 + SPAN, u64::MAX] {
            assert!(!segment.can_hold(sequence));
            segment.add(sequence, 0, 1);
            segment.clear(sequence, 1);
        }
        assert_eq!((segment.pending(), segment.bits.len()), (0, 0));
    }
}
