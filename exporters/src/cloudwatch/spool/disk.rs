//! The log on disk: writes events into the newest segment, begins and removes segments, reads records back.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use nix::errno::Errno;

use super::event::{Checkpoint, Event};
use super::folder::{self, Folder};
use super::segment::Segment;
use super::{Book, Meta, frame};
use crate::ledger::Reason;

/// A segment takes events up to this length. A record that is longer has one of its own.
const SEGMENT: u64 = 256 * 1024;
/// With less, a new segment would push out much of what is there.
const LEAST: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Disk {
    folder: Folder,
    /// Oldest first.
    segments: Vec<Segment>,
    /// The last segment's, while it takes events. A segment that was found, or in which a write failed, takes none.
    file: Option<File>,
    next_number: u64,
    max_bytes: u64,
    /// Up to this length a segment takes events.
    pub(super) segment_bytes: u64,
}

impl Disk {
    pub(super) fn new(folder: Folder, segments: Vec<Segment>, next_number: u64, max_bytes: u64) -> Self {
        let max_bytes = max_bytes.max(LEAST);
        Self { folder, segments, file: None, next_number, max_bytes, segment_bytes: SEGMENT.min(max_bytes / 4) }
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether a frame of this length can be stored at all.
    pub(super) fn has_room_for(&self, length: usize) -> bool {
        length as u64 + LEAST / 4 <= self.max_bytes.min(folder::LARGEST)
    }

    pub(super) fn is_pending(&self, sequence: u64) -> bool {
        self.index(sequence).is_some_and(|index| self.segments[index].is_pending(sequence))
    }

    /// Which segment can hold the sequence.
    fn index(&self, sequence: u64) -> Option<usize> {
        self.segments.partition_point(|segment| segment.first <= sequence).checked_sub(1)
    }

    /// Makes sure that the newest segment takes a frame of this length: begins a new one, and gives up the oldest for
    /// it, where needed. `next` is the sequence of the next record, `held` the data in memory, which no segment knows.
    pub(super) fn reserve(&mut self, length: usize, next: u64, held: u64, book: &mut Book) -> io::Result<()> {
        let limit = self.segment_bytes;
        let fits = |segment: &Segment| segment.bytes + length as u64 <= limit && segment.can_hold(next);
        // What somebody removed takes no more.
        self.file.take_if(|file| folder::is_removed(file));
        if self.file.is_some() && self.segments.last().is_some_and(fits) {
            return Ok(());
        }
        if let Some(file) = self.file.take() {
            // What the new segment says of the old one must not be ahead of it.
            file.sync_data()?;
        }
        self.make_room(length, next, held, book);
        match self.begin(next, held, book) {
            // Full perhaps of what is done. If the agent is killed before a new segment says what became of it, those
            // data count as damaged; the newest segment stays, so that at least the totals go on.
            Err(error) if is_full(&error) && self.sweep() => self.begin(next, held, book)?,
            result => result?,
        }
        self.sweep();
        Ok(())
    }

    /// Gives up the oldest pending segments until a new one fits.
    fn make_room(&mut self, length: usize, next: u64, held: u64, book: &mut Book) {
        // The totals in it may still grow by some digits.
        let beginning = self.beginning(next, held, book).len() as u64 + 64;
        let size = self.segment_bytes.max(beginning + length as u64);
        let mut kept: u64 = self.segments.iter().filter(|segment| segment.pending() > 0).map(|it| it.bytes).sum();
        for segment in self.segments.iter_mut().filter(|segment| segment.pending() > 0) {
            if kept + size <= self.max_bytes {
                return;
            }
            kept -= segment.bytes;
            book.totals.drop_data(Reason::Full, segment.clear_all());
        }
    }

    fn beginning(&self, next: u64, held: u64, book: &Book) -> Vec<u8> {
        let partial = self.segments.iter().filter_map(Segment::partial).collect();
        frame::encode(&Event::Begin(Checkpoint { partial, ..book.checkpoint(next, held) }), &[])
    }

    fn begin(&mut self, next: u64, held: u64, book: &Book) -> io::Result<()> {
        let frame = self.beginning(next, held, book);
        let number = self.next_number;
        let file = self.folder.create(number)?;
        self.next_number = number.saturating_add(1);
        let written = folder::write(&file, &frame).and_then(|()| file.sync_data()).and_then(|()| self.folder.sync());
        if let Err(error) = written {
            // Where it cannot be removed it does no harm: the next open does it.
            let _ = self.folder.remove(number);
            return Err(error);
        }
        let mut segment = Segment::new(number, next);
        segment.bytes = frame.len() as u64;
        self.segments.iter_mut().for_each(|older| older.unmarked = 0);
        self.segments.push(segment);
        self.file = Some(file);
        Ok(())
    }

    /// Writes what [`Self::reserve`] made room for.
    pub(super) fn write(&mut self, frame: &[u8], sync: bool) -> io::Result<()> {
        let (Some(file), Some(segment)) = (&self.file, self.segments.last_mut()) else {
            return Err(io::Error::other("no segment was begun"));
        };
        let written = folder::write(file, frame).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        match &written {
            Ok(()) => segment.bytes += frame.len() as u64,
            Err(_) => {
                self.file = None;
                // Where this fails too, reading passes over the rest of the frame, or counts the record once.
                let _ = self.folder.cut(segment.number, segment.bytes);
            }
        }
        written
    }

    /// The newest segment has this record now.
    pub(super) fn add(&mut self, sequence: u64, time: u64, data: u32) {
        if let Some(segment) = self.segments.last_mut().filter(|_| data > 0) {
            segment.add(sequence, time, data);
        }
    }

    /// A record with so many data is done; `is_marked` if a file says so.
    pub(super) fn clear(&mut self, sequence: u64, data: u64, is_marked: bool) {
        if let Some(index) = self.index(sequence) {
            self.segments[index].clear(sequence, data);
            self.segments[index].unmarked += if is_marked { 0 } else { data };
        }
    }

    /// Data that are done and that who reads the files takes for pending.
    pub(super) fn unmarked(&self) -> u64 {
        self.segments.iter().map(|segment| segment.unmarked).sum()
    }

    /// Removes the segments of which nothing is pending.
    pub(super) fn remove_done(&mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let older = &self.segments[..self.segments.len().saturating_sub(1)];
        let any = older.iter().any(|segment| segment.pending() == 0);
        if any {
            // Without their end in the log, records that are gone would count as damaged.
            file.sync_data()?;
        }
        self.file = Some(file);
        if any {
            self.sweep();
        }
        Ok(())
    }

    /// Removes what is done, but never the newest segment; gives whether there was any. What cannot be removed stays
    /// known as done, and is tried again.
    fn sweep(&mut self) -> bool {
        let before = self.segments.len();
        let newest = self.segments.last().map(|segment| segment.number);
        let folder = &self.folder;
        self.segments.retain(|segment| {
            let done = segment.pending() == 0 && Some(segment.number) != newest;
            !done || !remove(folder, segment)
        });
        if self.segments.len() < before
            && let Err(error) = self.folder.sync()
        {
            log::warn!("spool {}: not synchronised: {error}", self.folder.path().display());
        }
        self.segments.len() < before
    }

    /// Shows the pending records, newest first, with their payloads, until told to stop.
    pub(super) fn visit(&mut self, book: &mut Book, mut show: impl FnMut(Meta, &[u8]) -> ControlFlow<()>) {
        for index in (0..self.segments.len()).rev() {
            if self.segments[index].pending() > 0 && self.visit_segment(index, book, &mut show).is_break() {
                return;
            }
        }
    }

    /// How many data each of these records has, as far as they are pending.
    pub(super) fn data_of(&mut self, sequences: &[u64], book: &mut Book) -> Vec<(u64, u32)> {
        let pending = sequences.iter().filter(|sequence| self.is_pending(**sequence));
        let indexes: BTreeSet<usize> = pending.filter_map(|sequence| self.index(*sequence)).collect();
        let mut found = Vec::with_capacity(sequences.len());
        for index in indexes {
            let _ = self.visit_segment(index, book, &mut |meta, _| {
                if sequences.contains(&meta.sequence) {
                    found.push((meta.sequence, meta.data));
                }
                ControlFlow::Continue(())
            });
        }
        found
    }

    /// Reads one segment. Pending records that it should hold and does not are given up as damaged.
    fn visit_segment(
        &mut self,
        index: usize,
        book: &mut Book,
        show: &mut impl FnMut(Meta, &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let count = self.segments.len();
        let segment = &mut self.segments[index];
        let file = self.folder.file(segment.number);
        let mut content = match self.folder.read(segment.number) {
            Ok(content) => content,
            Err(error) if is_lost(&error) => {
                let newest = index + 1 == count;
                self.file.take_if(|_| newest);
                log::error!("spool: {} cannot be read, its records are lost: {error}", file.display());
                Vec::new()
            }
            Err(error) => {
                log::warn!("spool: {} cannot be read now: {error}", file.display());
                return ControlFlow::Continue(());
            }
        };
        content.truncate(segment.bytes as usize);
        let found = segment.find_pending(&content);
        let missing = segment.pending() as usize - found.len();
        if missing > 0 {
            segment.damaged = true;
            log::error!("spool: {}: {missing} records are damaged", file.display());
            book.totals.drop_data(Reason::Damaged, segment.keep_found(&found));
        }
        found.into_iter().rev().try_for_each(|(meta, payload)| show(meta, payload))
    }
}

fn remove(folder: &Folder, segment: &Segment) -> bool {
    let removed = if segment.damaged { folder.set_aside(segment.number) } else { folder.remove(segment.number) };
    if let Err(error) = &removed {
        log::warn!("spool: {} cannot be removed: {error}", folder.file(segment.number).display());
    }
    removed.is_ok()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether trying again would not help, unlike when, say, too many files are open.
pub(super) fn is_lost(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, NotFound};
    matches!(error.kind(), NotFound | FileTooLarge) || error.raw_os_error() == Some(Errno::EIO as i32)
}
