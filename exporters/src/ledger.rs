//! The ledger: what became of every datum. taken = published + pending + dropped, at any moment.

use std::fmt;

/// Why a datum will never be published: the label `reason` of the ledger's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// Its name is one that the service is documented to refuse.
    InvalidName = 0,
    /// The same of its dimensions: their number, a name or a value.
    InvalidDimension = 1,
    /// The same of its figures: not finite, out of range, too many, without a unit of the service's.
    InvalidValue = 2,
    /// The service refused this datum.
    Refused = 3,
    /// Older than the service takes: two weeks.
    TooOld = 4,
    /// The spool (or, without one, the memory set aside) was full, and this was the oldest.
    Full = 5,
    /// The spool's file was damaged here.
    Damaged = 6,
    /// Windows closed faster than they could be stored or written.
    Overrun = 7,
    /// The output could not be written (embedded metric format only).
    Unwritable = 8,
}

impl Reason {
    /// Every reason; a reason's place is its number in the spool.
    pub const ALL: [Self; 9] = [
        Self::InvalidName,
        Self::InvalidDimension,
        Self::InvalidValue,
        Self::Refused,
        Self::TooOld,
        Self::Full,
        Self::Damaged,
        Self::Overrun,
        Self::Unwritable,
    ];

    /// One lower-case word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::InvalidDimension => "invalid_dimension",
            Self::InvalidValue => "invalid_value",
            Self::Refused => "refused",
            Self::TooOld => "too_old",
            Self::Full => "full",
            Self::Damaged => "damaged",
            Self::Overrun => "overrun",
            Self::Unwritable => "unwritable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Numbers of data. Kept in the spool, so that they go on where the agent before left off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Made from windows.
    pub taken: u64,
    /// Accepted by the service.
    pub published: u64,
    /// Given up, by [`Reason`].
    pub dropped: [u64; Reason::ALL.len()],
    /// Sent without an answer that tells whether they were accepted. They are sent again, so Sum and SampleCount may
    /// hold them twice; average, minimum, maximum and percentiles stay right.
    pub ambiguous: u64,
}

impl Totals {
    /// Given up for this reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Given up for any reason.
    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Neither published nor given up yet.
    pub fn pending(&self) -> u64 {
        self.taken.saturating_sub(self.published + self.all_dropped())
    }

    /// Counts data that are given up.
    pub fn drop_data(&mut self, reason: Reason, data: u64) {
        self.dropped[reason as usize] += data;
    }
}

impl fmt::Display for Totals {
    /// The whole equation in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} data taken = {} published + {} pending + {} dropped",
            self.taken,
            self.published,
            self.pending(),
            self.all_dropped()
        )?;
        let reasons = Reason::ALL.into_iter().filter(|reason| self.dropped(*reason) > 0);
        let reasons: Vec<String> = reasons.map(|reason| format!("{reason} {}", self.dropped(reason))).collect();
        if !reasons.is_empty() {
            write!(f, " ({})", reasons.join(", "))?;
        }
        write!(f, "; {} perhaps twice", self.ambiguous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_equation_reads_in_one_line() {
        let mut totals = Totals { taken: 12, published: 7, ambiguous: 2, ..Totals::default() };
        assert_eq!(totals.to_string(), "12 data taken = 7 published + 5 pending + 0 dropped; 2 perhaps twice");
        totals.drop_data(Reason::TooOld, 1);
        totals.drop_data(Reason::Full, 3);
        assert_eq!((totals.all_dropped(), totals.pending()), (4, 1));
        assert!(totals.to_string().contains("+ 4 dropped (too_old 1, full 3);"), "{totals}");
    }

    #[test]
    fn a_reasons_place_is_its_number() {
        assert!(Reason::ALL.into_iter().enumerate().all(|(place, reason)| reason as usize == place));
    }
}
