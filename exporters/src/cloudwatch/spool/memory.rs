//! Records that the disk does not take: a bounded queue in memory.

use std::collections::VecDeque;

use super::Entry;

/// Beside their payloads records take some memory too, so their number is bounded as well.
const RECORDS: usize = 4096;

/// The queue, in order of sequence.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: VecDeque<Entry>,
    bytes: u64,
    data: u64,
    limit: u64,
}

impl Memory {
    /// A queue for so many bytes of payload.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Puts a record at the end; gives the data of those, oldest first, that had to go for it.
    pub(super) fn push(&mut self, entry: Entry) -> u64 {
        let mut lost = 0;
        let bytes = entry.payload.len() as u64;
        if bytes > self.limit {
            return u64::from(entry.data);
        }
        while self.bytes + bytes > self.limit || self.entries.len() >= RECORDS {
            let Some(sequence) = self.oldest().map(|entry| entry.sequence) else { break };
            lost += self.remove(sequence).map_or(0, |entry| u64::from(entry.data));
        }
        self.bytes += bytes;
        self.data += u64::from(entry.data);
        self.entries.push_back(entry);
        lost
    }

    /// Takes one away.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let index = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
        let entry = self.entries.remove(index)?;
        self.bytes -= entry.payload.len() as u64;
        self.data -= u64::from(entry.data);
        Some(entry)
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Entry> {
        let index = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
        self.entries.get(index)
    }

    pub(super) fn oldest(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Of payload.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of all records.
    pub(super) fn data(&self) -> u64 {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64, bytes: usize) -> Entry {
        Entry { sequence, time: sequence, data: 2, payload: vec![0; bytes] }
    }

    #[test]
    fn bounded_by_bytes_the_oldest_goes_first() {
        let mut memory = Memory::new(100);
        assert_eq!((0..5).map(|sequence| memory.push(entry(sequence, 30))).sum::<u64>(), 4);
        assert_eq!(memory.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!((memory.bytes(), memory.data()), (90, 6));
        assert_eq!(memory.push(entry(5, 101)), 2, "what can never fit is dropped itself");
        assert_eq!(memory.bytes(), 90);
    }

    #[test]
    fn bounded_by_number_too() {
        let mut memory = Memory::new(100);
        let lost: u64 = (0..RECORDS as u64 + 3).map(|sequence| memory.push(entry(sequence, 0))).sum();
        assert_eq!((lost, memory.iter().count()), (6, RECORDS));
    }
}
