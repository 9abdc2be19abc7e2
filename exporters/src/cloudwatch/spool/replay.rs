//! Opening: what the log on disk amounts to.
//!
//! It writes nothing that counts: the next segment's beginning holds all that was found out. So opening again without
//! having written comes to the same.

use std::io;

use super::Book;
use super::disk::is_lost;
use super::event::{Checkpoint, Event, drop_reasons};
use super::folder::Folder;
use super::frame::{Found, has_events, is_cut_beginning, later_version, scan};
use super::segment::Segment;
use crate::ledger::Reason;

/// The book, the segments, and the lowest number that no segment had yet.
///
/// # Errors
///
/// The folder, or a file that is whole for all that is known, cannot be read now, or it is of a later version. Then
/// everything is as it was, for whoever can read it.
pub(super) fn replay(folder: &Folder) -> io::Result<(Book, Vec<Segment>, u64)> {
    let (numbers, next_number) = folder.segments()?;
    for number in &numbers {
        refuse(folder, *number)?;
    }
    let last = numbers.last().copied();
    let mut replay = Replay::default();
    for number in numbers {
        let name = folder.file(number);
        let cleared = match folder.read(number) {
            Ok(content) if replay.segment(folder, number, &content, Some(number) == last) => continue,
            Ok(content) if Some(number) == last && is_cut_beginning(&content) => folder.remove(number),
            Ok(_) => {
                log::error!("spool: {} is no segment of this version, and is set aside", name.display());
                folder.set_aside(number)
            }
            Err(error) => {
                log::error!("spool: {} cannot be read, and is set aside: {error}", name.display());
                folder.set_aside(number)
            }
        };
        if let Err(error) = cleared {
            log::warn!("spool: {} stays where it is, unused: {error}", name.display());
        }
    }
    Ok(replay.finish(folder, next_number))
}

/// Refuses what must be kept as it is.
fn refuse(folder: &Folder, number: u64) -> io::Result<()> {
    let name = folder.file(number);
    match folder.read_beginning(number) {
        Ok(beginning) => match later_version(&beginning) {
            Some(version) if !folder.read(number).is_ok_and(|content| has_events(&content)) => {
                Err(io::Error::other(format!(
                    "{} has version {version} of the format, and this hostgauge knows version 1: run the newer one \
                     again, or give this one a folder of its own; nothing in it was touched",
                    name.display()
                )))
            }
            _ => Ok(()),
        },
        // A folder that has a segment's name is no segment.
        Err(error) if is_lost(&error) || error.kind() == io::ErrorKind::IsADirectory => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", name.display()))),
    }
}

#[derive(Default)]
struct Replay {
    book: Book,
    segments: Vec<Segment>,
}

impl Replay {
    /// Goes through one segment; gives whether it is one.
    fn segment(&mut self, folder: &Folder, number: u64, content: &[u8], last: bool) -> bool {
        let mut begun = false;
        let mut bad: Vec<usize> = Vec::new();
        let mut bytes = content.len();
        let mut scan = scan(content);
        loop {
            let offset = scan.offset();
            let Some(found) = scan.next() else { break };
            match found {
                Found::Event { event, payload } => {
                    if !begun {
                        begun = true;
                        self.begin(number, &event);
                    }
                    if payload.is_none() {
                        bad.push(offset);
                    }
                    self.apply(event);
                }
                // Cut off only where nothing else is wrong: damage may look like the end of a write too.
                Found::Bad { length, .. } if last && begun && bad.is_empty() && offset + length == content.len() => {
                    bytes = offset;
                }
                Found::Bad { .. } => bad.push(offset),
            }
        }
        let Some(segment) = self.segments.last_mut().filter(|_| begun) else { return false };
        segment.bytes = bytes as u64;
        segment.damaged = !bad.is_empty();
        let name = folder.file(number);
        if let Some(first) = bad.first() {
            log::error!("spool: {} is damaged in {} place(s), first at byte {first}", name.display(), bad.len());
        }
        if bytes < content.len() {
            let rest = content.len() - bytes;
            log::warn!("spool: {}: the last write, {rest} bytes from byte {bytes} on, was cut", name.display());
            // Where the file cannot be cut, its rest is passed over.
            let _ = folder.cut(number, segment.bytes);
        }
        true
    }

    fn begin(&mut self, number: u64, event: &Event) {
        let first = match event {
            Event::Begin(checkpoint) => {
                self.resume(checkpoint);
                checkpoint.next_sequence
            }
            Event::Record { sequence, .. } => *sequence,
            _ => self.book.next_sequence,
        };
        // Segments are found by their first sequence, so it never goes back.
        let before = self.segments.last().map_or(0, |segment| segment.first);
        self.segments.push(Segment::new(number, first.max(before)));
    }

    fn resume(&mut self, checkpoint: &Checkpoint) {
        // Else the ledger goes on with what is known from older segments.
        self.book.totals = checkpoint.totals().unwrap_or(self.book.totals);
        self.book.attempted = checkpoint.attempted.iter().copied().collect();
        self.book.next_sequence = self.book.next_sequence.max(checkpoint.next_sequence);
        for partial in &checkpoint.partial {
            if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == partial.segment) {
                segment.keep_listed(partial);
            }
        }
    }

    fn apply(&mut self, event: Event) {
        let Book { totals, attempted, next_sequence } = &mut self.book;
        match event {
            // Only a segment's first event can be one, and it was heard.
            Event::Begin(_) => {}
            Event::Record { sequence, time, data, refused } => {
                let refused_data: u64 = refused.iter().map(|(_, data)| u64::from(*data)).sum();
                if !add(&mut self.segments, sequence, time, data) {
                    return;
                }
                totals.taken += u64::from(data) + refused_data;
                drop_reasons(totals, &refused);
                *next_sequence = (*next_sequence).max(sequence.saturating_add(1));
            }
            Event::Attempt(records) => attempted.extend(records),
            Event::Failed { sequences, ambiguous } => {
                let data: u64 = sequences.iter().filter_map(|it| attempted.remove(it)).map(u64::from).sum();
                totals.ambiguous += if ambiguous { data } else { 0 };
            }
            Event::Settled { sequence, published, dropped } => {
                attempted.remove(&sequence);
                clear(&mut self.segments, sequence);
                totals.published += u64::from(published);
                drop_reasons(totals, &dropped);
                *next_sequence = (*next_sequence).max(sequence.saturating_add(1));
            }
        }
    }

    fn finish(mut self, folder: &Folder, next_number: u64) -> (Book, Vec<Segment>, u64) {
        let totals = &mut self.book.totals;
        // An attempt without an end: the agent was killed while the request was on its way.
        totals.ambiguous += std::mem::take(&mut self.book.attempted).into_values().map(u64::from).sum::<u64>();
        for segment in &mut self.segments {
            // Only what is whole counts as pending; so far a record with a damaged payload does.
            let content =
                if segment.pending() > 0 { folder.read(segment.number).unwrap_or_default() } else { Vec::new() };
            let found = segment.find_pending(&content);
            segment.keep_found(&found);
        }
        let pending: u64 = self.segments.iter().map(|segment| segment.data).sum();
        let known = totals.published + totals.all_dropped() + pending;
        if totals.taken > known {
            let lost = totals.taken - known;
            log::error!("spool {}: {lost} data were lost to damage", folder.path().display());
            totals.drop_data(Reason::Damaged, lost);
        }
        // Damage may have hidden that something was taken, not what became of it.
        totals.taken = totals.taken.max(known);
        (self.book, self.segments, next_number)
    }
}

/// Adds a record to the newest segment. False if it cannot be: it is there already, or its number makes no sense.
fn add(segments: &mut [Segment], sequence: u64, time: u64, data: u32) -> bool {
    let Some(newest) = segments.last().filter(|newest| newest.can_hold(sequence) && !newest.is_pending(sequence))
    else {
        return false;
    };
    let number = newest.number;
    // An earlier segment has it too if a write failed and what it left could not be cut off; the later one counts.
    segments.iter_mut().filter(|segment| segment.number != number).for_each(|segment| segment.clear(sequence, 0));
    if let Some(newest) = segments.last_mut().filter(|_| data > 0) {
        newest.add(sequence, time, data);
    }
    true
}

fn clear(segments: &mut [Segment], sequence: u64) {
    segments.iter_mut().for_each(|segment| segment.clear(sequence, 0));
}
