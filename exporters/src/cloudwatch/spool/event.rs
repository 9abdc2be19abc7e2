//! The events of which the spool's log is made. What the spool is at any moment follows from them alone.

use minicbor::{Decode, Encode};

use crate::ledger::{Reason, Totals};

/// More data than any agent takes, by far, and so few that sums of them fit 64 bits.
const MOST: u64 = 1 << 48;

/// One thing that happened. Its numbers in the log are never used again for something else.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) enum Event {
    /// A segment begins.
    #[n(0)]
    Begin(#[n(0)] Checkpoint),
    /// A record was taken; its payload stands behind the event.
    #[n(1)]
    Record {
        /// Its number, higher than that of any record before.
        #[n(0)]
        sequence: u64,
        /// When its period began, in milliseconds since the Unix epoch.
        #[n(1)]
        time: u64,
        /// How many data it holds.
        #[n(2)]
        data: u32,
        /// Data of the same window that were dropped before they came here.
        #[n(3)]
        refused: Vec<(u8, u32)>,
    },
    /// These records, with the number of their data, are about to be sent.
    #[n(2)]
    Attempt(#[n(0)] Vec<(u64, u32)>),
    /// Sending these records ended, and they were not accepted.
    #[n(3)]
    Failed {
        /// The records.
        #[n(0)]
        sequences: Vec<u64>,
        /// Whether the service may have accepted them all the same.
        #[n(1)]
        ambiguous: bool,
    },
    /// A record is done.
    #[n(4)]
    Settled {
        /// The record.
        #[n(0)]
        sequence: u64,
        /// How many of its data the service accepted.
        #[n(1)]
        published: u32,
        /// The others, by reason.
        #[n(2)]
        dropped: Vec<(u8, u32)>,
    },
}

/// What every segment begins with: all that older segments' events amount to, so that those segments can go.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(super) struct Checkpoint {
    /// The number that the next record gets.
    #[n(0)]
    pub(super) next_sequence: u64,
    /// Of the ledger.
    #[n(1)]
    pub(super) taken: u64,
    /// Of the ledger.
    #[n(2)]
    pub(super) published: u64,
    /// Of the ledger, by the reason's place.
    #[n(3)]
    pub(super) dropped: Vec<u64>,
    /// Of the ledger.
    #[n(4)]
    pub(super) ambiguous: u64,
    /// Records on their way to the service, with the number of their data.
    #[n(5)]
    pub(super) attempted: Vec<(u64, u32)>,
    /// Older segments of which not every record is pending. Of one that is not listed, all are.
    #[n(6)]
    pub(super) partial: Vec<Partial>,
}

/// Which records of a segment are pending.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(super) struct Partial {
    /// The segment.
    #[n(0)]
    pub(super) segment: u64,
    /// The sequence of the first bit.
    #[n(1)]
    pub(super) first: u64,
    /// One bit for each sequence from `first` on, lowest first.
    #[n(2)]
    pub(super) pending: Vec<u64>,
}

impl Checkpoint {
    /// The ledger as it was; `None` where a number is none that an agent lives to count to.
    pub(super) fn totals(&self) -> Option<Totals> {
        let mut totals =
            Totals { taken: self.taken, published: self.published, ambiguous: self.ambiguous, ..Totals::default() };
        totals.dropped.iter_mut().zip(&self.dropped).for_each(|(total, dropped)| *total = *dropped);
        let mut numbers = [totals.taken, totals.published, totals.ambiguous].into_iter().chain(totals.dropped);
        numbers.all(|number| number < MOST).then_some(totals)
    }
}

/// Reasons as they stand in the log: by their place.
pub(super) fn encode_reasons(dropped: &[(Reason, u32)]) -> Vec<(u8, u32)> {
    dropped.iter().map(|(reason, data)| (*reason as u8, *data)).collect()
}

/// Counts data that an event says were dropped. A reason that this version does not know counts as damage.
pub(super) fn drop_reasons(totals: &mut Totals, dropped: &[(u8, u32)]) {
    for (place, data) in dropped {
        let reason = Reason::ALL.get(usize::from(*place)).copied().unwrap_or(Reason::Damaged);
        totals.drop_data(reason, u64::from(*data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_nobody_lives_to_count_to_is_none() {
        let good = Checkpoint { taken: 9, published: 5, dropped: vec![1, 3], ..Checkpoint::default() };
        assert_eq!(good.totals().map(|totals| totals.pending()), Some(0));
        for bad in [
            Checkpoint { taken: u64::MAX, ..good.clone() },
            Checkpoint { published: MOST, ..good.clone() },
            Checkpoint { dropped: vec![0, u64::MAX], ..good.clone() },
            Checkpoint { ambiguous: MOST, ..good },
        ] {
            assert_eq!(bad.totals(), None, "{bad:?}");
        }
    }
}
