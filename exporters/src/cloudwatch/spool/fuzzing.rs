//! A property of the log on disk.
#![allow(clippy::expect_used, reason = "a property that does not hold panics")]

use std::fs;
use std::path::PathBuf;

use super::event::{Checkpoint, Event, Partial};
use super::{Choice, Spool, frame};
use crate::fuzzing::input::Input;

/// A folder of this thread, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("hostgauge-fuzz-spool-{}", std::process::id()));
        // Whether it was there does not matter.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whatever the segments hold, taken = published + pending + dropped, also when the spool is opened once more; and what
/// is pending can be read.
pub(crate) fn spool_segments(data: &[u8]) {
    let scratch = Scratch::new();
    let mut input = Input::new(data);
    for number in 0..1 + u64::from(input.byte() % 4) {
        let mut segment = Vec::new();
        let mut events = input.byte() % 16;
        while events > 0 && !input.is_empty() {
            events -= 1;
            put(&mut segment, &mut input);
        }
        fs::write(scratch.0.join(format!("{number:020}.spool")), segment).expect("written");
    }
    let open = || {
        let mut spool = Spool::open(&scratch.0, 1 << 20).expect("nobody else has it");
        let totals = spool.totals();
        let balance = u128::from(totals.published) + u128::from(spool.pending_data());
        let dropped: u128 = totals.dropped.iter().map(|data| u128::from(*data)).sum();
        assert_eq!(u128::from(totals.taken), balance + dropped, "{totals:?}");
        let entries = spool.newest(|_| Choice::Take);
        let read: u64 = entries.iter().map(|entry| u64::from(entry.data)).sum();
        assert_eq!(read, spool.pending_data());
        (totals, entries)
    };
    let first = open();
    assert_eq!(open(), first, "opened once more");
}

/// An event, an event whose head is somebody else's, or bytes of any kind.
fn put(segment: &mut Vec<u8>, input: &mut Input<'_>) {
    let pairs =
        |input: &mut Input<'_>| (0..input.byte() % 4).map(|_| (input.byte(), input.any_number() as u32)).collect();
    let numbers = |input: &mut Input<'_>| (0..input.byte() % 4).map(|_| input.any_number()).collect::<Vec<u64>>();
    let event = match input.byte() % 8 {
        0 => Event::Begin(Checkpoint {
            next_sequence: input.any_number(),
            taken: input.any_number(),
            published: input.any_number(),
            dropped: numbers(input),
            ambiguous: input.any_number(),
            attempted: numbers(input).into_iter().map(|sequence| (sequence, 1)).collect(),
            partial: (0..input.byte() % 3)
                .map(|_| Partial { segment: input.any_number(), first: input.any_number(), pending: numbers(input) })
                .collect(),
        }),
        1 | 2 => Event::Record {
            sequence: input.any_number(),
            time: input.any_number(),
            data: input.any_number() as u32,
            refused: pairs(input),
        },
        3 => Event::Attempt(numbers(input).into_iter().map(|sequence| (sequence, 2)).collect()),
        4 => Event::Failed { sequences: numbers(input), ambiguous: input.byte() & 1 == 0 },
        5 => {
            Event::Settled { sequence: input.any_number(), published: input.any_number() as u32, dropped: pairs(input) }
        }
        6 => {
            let length = input.byte().into();
            return segment.extend(input.bytes(length));
        }
        _ => {
            let keep = usize::from(input.byte()) * segment.len() / 256;
            return segment.truncate(keep);
        }
    };
    let length = input.byte().into();
    segment.extend(frame::encode(&event, input.bytes(length)));
}
