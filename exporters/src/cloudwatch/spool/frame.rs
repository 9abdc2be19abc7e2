//! The frame around every event: it makes a damaged or cut file readable up to the bad place, and again after it.
//!
//! | bytes | |
//! | --- | --- |
//! | 4 | magic, which holds the version of the format |
//! | 4 | length of the head |
//! | 4 | length of the payload |
//! | 4 | CRC-32 of the payload |
//! | 4 | CRC-32 of the two lengths, the payload's checksum and the head |
//! | | head: the [`Event`] in CBOR |
//! | | payload: a record's |
//!
//! Numbers are little endian. The head has a checksum of its own, so that it is known how many data a damaged payload
//! held.

use super::event::Event;

/// The last byte is the version. The first never occurs in UTF-8 text.
const MAGIC: [u8; 4] = [0xF5, b'h', b'g', 1];
/// What stands before the head.
const PREFIX: usize = 20;

/// An event as it stands in the file.
pub(super) fn encode(event: &Event, payload: &[u8]) -> Vec<u8> {
    // Writing to memory cannot fail.
    let head = minicbor::to_vec(event).unwrap_or_default();
    let mut frame = Vec::with_capacity(PREFIX + head.len() + payload.len());
    frame.extend(MAGIC);
    frame.extend((head.len() as u32).to_le_bytes());
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(crc32fast::hash(payload).to_le_bytes());
    frame.extend(checksum(&frame[4..16], &head).to_le_bytes());
    frame.extend(head);
    frame.extend(payload);
    frame
}

fn checksum(lengths: &[u8], head: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(lengths);
    hasher.update(head);
    hasher.finalize()
}

/// What stands at one place of a segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// An event, whole.
    Event {
        /// The event.
        event: Event,
        /// What stands behind it; `None` where its checksum says that it is damaged.
        payload: Option<&'a [u8]>,
    },
    /// Nothing that can be read: damage, or the end of a write that was cut.
    Bad {
        /// Where it begins.
        offset: usize,
        /// How many bytes it has.
        length: usize,
    },
}

/// Reads a segment. Any bytes will do: it never fails, and goes on at the next whole frame after what it cannot read.
pub(super) fn scan(bytes: &[u8]) -> Scan<'_> {
    Scan { bytes, at: 0 }
}

/// The iterator of [`scan`].
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// Where the next thing found begins.
    pub(super) fn offset(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let offset = self.at;
        if offset >= self.bytes.len() {
            return None;
        }
        if let Some((event, payload, end)) = decode(self.bytes, offset) {
            self.at = end;
            return Some(Found::Event { event, payload });
        }
        let good = |at: &usize| decode(self.bytes, *at).is_some();
        self.at = magics(self.bytes, offset + 1).find(good).unwrap_or(self.bytes.len());
        Some(Found::Bad { offset, length: self.at - offset })
    }
}

/// Where a frame may begin, from a place on.
fn magics(bytes: &[u8], from: usize) -> impl Iterator<Item = usize> {
    (from..bytes.len()).filter(|at| bytes[*at..].starts_with(&MAGIC))
}

/// The event and payload of the frame that begins here, and where to go on. `None` unless the head is right and the
/// frame ends within the file.
fn decode(bytes: &[u8], at: usize) -> Option<(Event, Option<&[u8]>, usize)> {
    let rest = bytes.get(at..).filter(|rest| rest.starts_with(&MAGIC))?;
    let word = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    let (head_length, payload_length) = (word(4)? as usize, word(8)? as usize);
    let (payload_checksum, head_checksum) = (word(12)?, word(16)?);
    let head_end = PREFIX.checked_add(head_length)?;
    let end = head_end.checked_add(payload_length)?;
    let (head, payload) = (rest.get(PREFIX..head_end)?, rest.get(head_end..end)?);
    if checksum(rest.get(4..16)?, head) != head_checksum {
        return None;
    }
    let event = minicbor::decode(head).ok()?;
    if crc32fast::hash(payload) == payload_checksum {
        return Some((event, Some(payload), at + end));
    }
    // Bytes may be missing from a damaged payload, and then another frame begins before its end.
    let whole = end == rest.len() || rest[end..].starts_with(&MAGIC);
    Some((event, None, at + if whole { end } else { head_end }))
}

/// The version of the format, where these first bytes of a segment name a later one than ours: that of an agent that was
/// newer, or ours with damage there, see [`has_events`]. Layouts of records and events change with it.
pub(super) fn later_version(bytes: &[u8]) -> Option<u8> {
    let (version, name) = MAGIC.split_last()?;
    bytes.strip_prefix(name)?.first().copied().filter(|found| found > version)
}

/// Whether anything in a segment can be read. A segment has one version throughout, so none of a later one can.
pub(super) fn has_events(bytes: &[u8]) -> bool {
    scan(bytes).any(|found| matches!(found, Found::Event { .. }))
}

/// Whether this is what a crash leaves of a segment that was just being begun.
pub(super) fn is_cut_beginning(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    MAGIC.starts_with(start) || bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(sequence: u64) -> Event {
        Event::Record { sequence, time: 1, data: 2, refused: vec![(0, 3)] }
    }

    fn events(bytes: &[u8]) -> Vec<u64> {
        let sequence = |found| match found {
            Found::Event { event: Event::Record { sequence, .. }, .. } => Some(sequence),
            _ => None,
        };
        scan(bytes).filter_map(sequence).collect()
    }

    #[test]
    fn a_later_version_is_known_from_damage() {
        let mut frame = encode(&event(1), b"");
        assert_eq!(later_version(&frame), None);
        frame[3] = 7;
        assert_eq!(later_version(&frame), Some(7));
        assert!([&b""[..], &MAGIC[..3], b"abcd", &[0; 9]].into_iter().all(|bytes| later_version(bytes).is_none()));
    }

    #[test]
    fn what_is_written_is_read() {
        let frames = [encode(&event(1), b"one"), encode(&Event::Attempt(vec![(1, 2)]), b"")].concat();
        let expected = [
            Found::Event { event: event(1), payload: Some(&b"one"[..]) },
            Found::Event { event: Event::Attempt(vec![(1, 2)]), payload: Some(&b""[..]) },
        ];
        assert_eq!(scan(&frames).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_damaged_payload_keeps_its_event() {
        let mut frames = [encode(&event(1), b"payload"), encode(&event(2), b"next")].concat();
        let at = frames.windows(7).position(|window| window == b"payload").unwrap();
        frames[at] ^= 1;
        let found: Vec<Found<'_>> = scan(&frames).collect();
        assert_eq!(found[0], Found::Event { event: event(1), payload: None });
        assert_eq!(found[1], Found::Event { event: event(2), payload: Some(&b"next"[..]) });
    }

    #[test]
    fn after_garbage_it_goes_on_at_the_next_frame() {
        let garbage = [&MAGIC[..], b"garbage", &MAGIC[..2]].concat();
        let frames = [encode(&event(1), b""), garbage.clone(), encode(&event(2), b"")].concat();
        let offset = encode(&event(1), b"").len();
        assert_eq!(scan(&frames).nth(1), Some(Found::Bad { offset, length: garbage.len() }));
        assert_eq!(events(&frames), [1, 2]);
    }

    #[test]
    fn bytes_missing_from_a_payload_cost_only_that_record() {
        let mut frames = [encode(&event(1), &[7; 100]), encode(&event(2), b"x"), encode(&event(3), b"x")].concat();
        frames.drain(60..80);
        assert_eq!(events(&frames), [1, 2, 3]);
    }

    #[test]
    fn what_ends_behind_the_end_of_the_file_was_never_there() {
        let frame = encode(&event(1), b"payload");
        for length in 1..frame.len() {
            assert_eq!(scan(&frame[..length]).collect::<Vec<_>>(), [Found::Bad { offset: 0, length }]);
        }
    }

    proptest! {
        // Any bytes are read to their end, and every frame before and after them is found.
        #[test]
        fn any_bytes_are_read(garbage in proptest::collection::vec(any::<u8>(), 0..300)) {
            let frames = [encode(&event(1), b"a"), garbage, encode(&event(2), b"b")].concat();
            let found = events(&frames);
            prop_assert_eq!((found.first(), found.last()), (Some(&1), Some(&2)));
        }
    }
}
