//! The spool: a bounded queue of records on disk that a crash does not harm, and with it the ledger's totals.
//!
//! Everything that happens is an event at the end of one log. The log is cut into segments; each begins with all that
//! the older ones amount to, so a segment goes as soon as none of its records is pending. Memory holds a few numbers of
//! each segment and one bit of each record, however long an outage lasts: records are read back when they are wanted.
//!
//! Whatever happens to the files, taken = published + dropped + pending. What damage took counts as
//! [`Reason::Damaged`], what did not fit as [`Reason::Full`].
//!
//! A record is on disk for good once [`Spool::append`] returns. That it was settled is not: after a power loss (not
//! after a mere kill) it may be given again, and where the disk could not be written any more it is; [`Spool::close`]
//! says how much.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::ledger::{Reason, Totals};

mod disk;
mod event;
mod folder;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod look;
mod memory;
mod replay;
mod segment;
#[cfg(test)]
mod tests;

use disk::Disk;
use event::{Checkpoint, Event, encode_reasons};
use folder::{Folder, FolderError};
use memory::Memory;

pub use look::{Place, look};

/// What is kept in memory, in bytes of payload, while the disk takes nothing.
const MEMORY: u64 = 2 * 1024 * 1024;

/// One request's worth of one window, to be stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// When its period began, in milliseconds since the Unix epoch.
    pub time: u64,
    /// How many data it holds. With 0 there is nothing to publish, and only `refused` is counted.
    pub data: u32,
    /// Data of the same window that will never be published: counted as taken and dropped.
    pub refused: &'a [(Reason, u32)],
    /// What [`Spool::newest`] gives back.
    pub payload: &'a [u8],
}

/// A record that is pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number: the higher, the newer. None has the same, also after a restart.
    pub sequence: u64,
    /// When its period began, in milliseconds since the Unix epoch.
    pub time: u64,
    /// How many data it holds.
    pub data: u32,
    /// What was stored.
    pub payload: Vec<u8>,
}

/// What there is to know of a pending record without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Its number: the higher, the newer.
    pub sequence: u64,
    /// When its period began, in milliseconds since the Unix epoch.
    pub time: u64,
    /// How many data it holds.
    pub data: u32,
    /// The payload's length in bytes.
    pub payload_len: usize,
}

/// Whether [`Spool::newest`] gives a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Give it.
    Take,
    /// Pass over it.
    Skip,
    /// Pass over it and all older ones.
    Stop,
}

/// Why a spool cannot be opened. All else that can be wrong with the folder makes a spool in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another agent uses this folder.
    Taken(PathBuf),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Taken(folder) = self;
        write!(f, "spool {}: another agent uses this folder; give each agent its own", folder.display())
    }
}

impl std::error::Error for OpenError {}

/// What all events amount to, beside which records are pending.
#[derive(Clone, Debug, Default)]
struct Book {
    totals: Totals,
    /// Records on their way to the service, with the number of their data.
    attempted: BTreeMap<u64, u32>,
    /// The number that the next record gets.
    next_sequence: u64,
}

impl Book {
    /// As a segment that begins with the record `next` has it: without the data `held` in memory, which it may get
    /// later.
    fn checkpoint(&self, next: u64, held: u64) -> Checkpoint {
        Checkpoint {
            next_sequence: next,
            taken: self.totals.taken.saturating_sub(held),
            published: self.totals.published,
            dropped: self.totals.dropped.to_vec(),
            ambiguous: self.totals.ambiguous,
            attempted: self.attempted.iter().map(|(sequence, data)| (*sequence, *data)).collect(),
            partial: Vec::new(),
        }
    }
}

/// The queue. It belongs to one thread, and its calls wait for the disk.
#[derive(Debug)]
pub(super) struct Spool {
    book: Book,
    /// `None` without a folder that can be used.
    disk: Option<Disk>,
    memory: Memory,
    /// Why what is appended is not safe on disk; `None` while it is.
    why: Option<String>,
    /// Whether it was said, in this outage, that the oldest records go.
    full_said: bool,
}

impl Spool {
    /// Opens the spool in a folder, which is made where it is missing (mode 0700). Its files take at most `max_bytes`
    /// (64 KiB where that is less); beyond, the oldest go. Up to two damaged files that were set aside come on top.
    ///
    /// A folder that cannot be written is no error: the spool is in memory then, and [`Self::why`] says so.
    ///
    /// # Errors
    ///
    /// [`OpenError::Taken`] while another spool has the folder, in this process or another.
    pub(super) fn open(folder: &Path, max_bytes: u64) -> Result<Self, OpenError> {
        let opened = Folder::open(folder).and_then(|folder| {
            let (book, segments, next_number) = replay::replay(&folder)?;
            Ok((book, Disk::new(folder, segments, next_number, max_bytes)))
        });
        match opened {
            Ok((book, disk)) => Ok(Self { book, disk: Some(disk), why: None, ..Self::in_memory(max_bytes) }),
            Err(FolderError::Taken) => Err(OpenError::Taken(folder.to_owned())),
            Err(FolderError::Io(error)) => {
                let why = format!("spool {}: cannot be used: {error}", folder.display());
                log::error!("{why}; what is not published is kept in memory, and lost when the agent ends");
                Ok(Self { why: Some(why), ..Self::in_memory(max_bytes) })
            }
        }
    }

    /// A spool that keeps so many bytes of payload, 2 MiB at most, and loses them when it is dropped.
    pub(super) fn in_memory(max_bytes: u64) -> Self {
        Self {
            book: Book::default(),
            disk: None,
            memory: Memory::new(max_bytes.min(MEMORY)),
            why: Some("the spool is in memory".to_owned()),
            full_said: false,
        }
    }

    /// Takes a record. It is on disk when this returns; if the disk does not take it, it is kept in memory (2 MiB of
    /// payload, then the oldest goes) until the disk takes records again, which every append tries.
    pub(super) fn append(&mut self, record: &Record<'_>) {
        let Record { time, data, payload, .. } = *record;
        let sequence = self.book.next_sequence;
        self.book.next_sequence = sequence.saturating_add(1);
        let full_before = self.book.totals.dropped(Reason::Full);
        let frame = record_frame(sequence, record);
        let stored = match &self.disk {
            Some(disk) if !disk.has_room_for(frame.len()) => Ok(Stored::Never),
            Some(_) => self.store_held().and_then(|()| self.store(sequence, time, data, &frame)).map(|()| Stored::Disk),
            None => Ok(Stored::Memory),
        };
        let stored = stored.unwrap_or_else(|error| {
            self.broke(&error);
            Stored::Memory
        });
        self.count(record);
        match stored {
            Stored::Disk => self.recovered(),
            Stored::Memory if data > 0 => {
                let lost = self.memory.push(Entry { sequence, time, data, payload: payload.to_vec() });
                self.book.totals.drop_data(Reason::Full, lost);
            }
            Stored::Memory => {}
            Stored::Never => self.book.totals.drop_data(Reason::Full, u64::from(data)),
        }
        self.say_full(full_before);
    }

    fn count(&mut self, record: &Record<'_>) {
        let totals = &mut self.book.totals;
        totals.taken += u64::from(record.data);
        for (reason, data) in record.refused {
            totals.taken += u64::from(*data);
            totals.drop_data(*reason, u64::from(*data));
        }
    }

    /// Moves what is in memory to the disk, oldest first.
    fn store_held(&mut self) -> io::Result<()> {
        while let Some(entry) = self.memory.oldest() {
            // What was refused with it is in the totals, and so in the segment that begins now.
            let Entry { sequence, time, data, ref payload } = *entry;
            let frame = record_frame(sequence, &Record { time, data, refused: &[], payload });
            self.store(sequence, time, data, &frame)?;
            self.memory.remove(sequence);
        }
        Ok(())
    }

    fn store(&mut self, sequence: u64, time: u64, data: u32, frame: &[u8]) -> io::Result<()> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        disk.reserve(frame.len(), sequence, self.memory.data(), &mut self.book)?;
        disk.write(frame, true)?;
        disk.add(sequence, time, data);
        Ok(())
    }

    /// These records are about to be sent. Once this returns, a crash will count their data as ambiguous.
    pub(super) fn attempt(&mut self, sequences: &[u64]) {
        let held = sequences.iter().filter_map(|sequence| self.memory.get(*sequence));
        let mut records: Vec<(u64, u32)> = held.map(|entry| (entry.sequence, entry.data)).collect();
        if let Some(disk) = &mut self.disk {
            records.extend(disk.data_of(sequences, &mut self.book));
        }
        self.log(&Event::Attempt(records.clone()), true);
        self.book.attempted.extend(records);
    }

    /// Sending these records ended, and they were not accepted, or it is not known: then they are `ambiguous`, and
    /// their data are counted so. They stay pending.
    pub(super) fn failed(&mut self, sequences: &[u64], ambiguous: bool) {
        self.log(&Event::Failed { sequences: sequences.to_vec(), ambiguous }, false);
        let data: u64 = sequences.iter().filter_map(|it| self.book.attempted.remove(it)).map(u64::from).sum();
        self.book.totals.ambiguous += if ambiguous { data } else { 0 };
    }

    /// A record is done: so many of its data were published, the others dropped; together they must be all of its
    /// data. One that is not pending (any more) is passed over.
    pub(super) fn settle(&mut self, sequence: u64, published: u32, dropped: &[(Reason, u32)]) {
        let event = Event::Settled { sequence, published, dropped: encode_reasons(dropped) };
        let frame = frame::encode(&event, &[]);
        let data = u64::from(published) + dropped.iter().map(|(_, data)| u64::from(*data)).sum::<u64>();
        let held = self.memory.remove(sequence).is_some();
        if !held {
            // First of all, since making room may cost this very record.
            self.reserve(frame.len());
            if !self.disk.as_ref().is_some_and(|disk| disk.is_pending(sequence)) {
                self.book.attempted.remove(&sequence);
                return;
            }
            self.write(&frame, false);
        }
        self.book.attempted.remove(&sequence);
        self.book.totals.published += u64::from(published);
        dropped.iter().for_each(|(reason, data)| self.book.totals.drop_data(*reason, u64::from(*data)));
        let is_marked = self.is_durable();
        if let Some(disk) = self.disk.as_mut().filter(|_| !held) {
            disk.clear(sequence, data, is_marked);
            if let Err(error) = disk.remove_done() {
                self.broke(&error);
            }
        }
        if self.pending_data() == 0 {
            self.full_said = false;
        }
    }

    fn log(&mut self, event: &Event, sync: bool) {
        let frame = frame::encode(event, &[]);
        self.reserve(frame.len());
        self.write(&frame, sync);
    }

    /// Makes room for an event. While the disk takes nothing, only [`Self::append`] tries it.
    fn reserve(&mut self, length: usize) {
        let full_before = self.book.totals.dropped(Reason::Full);
        let next = self.book.next_sequence;
        let Some(disk) = self.disk.as_mut().filter(|_| self.why.is_none()) else { return };
        if let Err(error) = disk.reserve(length, next, self.memory.data(), &mut self.book) {
            self.broke(&error);
        }
        self.say_full(full_before);
    }

    /// Writes an event. One that is not written is not lost: the next segment begins with what it amounts to.
    fn write(&mut self, frame: &[u8], sync: bool) {
        let Some(disk) = self.disk.as_mut().filter(|_| self.why.is_none()) else { return };
        if let Err(error) = disk.write(frame, sync) {
            self.broke(&error);
        }
    }

    /// The pending records that are chosen, newest first.
    pub(super) fn newest(&mut self, mut choose: impl FnMut(&Meta) -> Choice) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut show = |meta: Meta, payload: &[u8]| {
            match choose(&meta) {
                Choice::Take => {
                    let Meta { sequence, time, data, .. } = meta;
                    entries.push(Entry { sequence, time, data, payload: payload.to_vec() });
                }
                Choice::Skip => {}
                Choice::Stop => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        };
        let shown = self.memory.iter().rev().try_for_each(|entry| {
            let Entry { sequence, time, data, payload } = entry;
            show(Meta { sequence: *sequence, time: *time, data: *data, payload_len: payload.len() }, payload)
        });
        if let (ControlFlow::Continue(()), Some(disk)) = (shown, &mut self.disk) {
            disk.visit(&mut self.book, show);
        }
        entries
    }

    /// Lifetime totals, those of agents before in the same folder included.
    pub(super) fn totals(&self) -> Totals {
        self.book.totals
    }

    /// Data of all pending records.
    pub(super) fn pending_data(&self) -> u64 {
        let on_disk = self.disk.iter().flat_map(Disk::segments).map(|segment| segment.data);
        on_disk.sum::<u64>() + self.memory.data()
    }

    /// The time of the oldest pending record, in milliseconds since the Unix epoch; `None` without one. It may be that
    /// of a record that is done, while others of the same file are pending.
    pub(super) fn oldest(&self) -> Option<u64> {
        let pending = self.disk.iter().flat_map(Disk::segments).filter(|segment| segment.pending() > 0);
        pending.filter_map(|segment| segment.oldest).chain(self.memory.iter().map(|entry| entry.time)).min()
    }

    /// Bytes of the files, and of payload in memory.
    pub(super) fn bytes(&self) -> u64 {
        let on_disk = self.disk.iter().flat_map(Disk::segments).map(|segment| segment.bytes);
        on_disk.sum::<u64>() + self.memory.bytes()
    }

    /// Whether what is appended outlasts the agent.
    pub(super) fn is_durable(&self) -> bool {
        self.why.is_none()
    }

    /// Why it does not; `None` where it does.
    pub(super) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Says what nobody will know once the spool is dropped.
    pub(super) fn close(&self) {
        let Some((disk, unmarked)) = self.disk.as_ref().map(|disk| (disk, disk.unmarked())).filter(|it| it.1 > 0)
        else {
            return;
        };
        log::warn!(
            "spool {}: {unmarked} data that are done stand in it as pending, since it could not be written; the next agent \
             that uses it publishes them again",
            disk.folder().path().display()
        );
    }

    fn broke(&mut self, error: &io::Error) {
        let Some(disk) = self.disk.as_ref().filter(|_| self.why.is_none()) else { return };
        let why = format!("spool {}: cannot be written: {error}", disk.folder().path().display());
        log::error!("{why}; records are kept in memory until it can");
        self.why = Some(why);
    }

    fn recovered(&mut self) {
        if let (Some(disk), Some(_)) = (&self.disk, self.why.take()) {
            log::info!("spool {}: can be written again", disk.folder().path().display());
        }
    }

    fn say_full(&mut self, before: u64) {
        if self.book.totals.dropped(Reason::Full) > before && !self.full_said {
            self.full_said = true;
            log::warn!("the spool is full: from now on the oldest records are dropped for new ones");
        }
    }
}

/// Where a record went.
enum Stored {
    Disk,
    Memory,
    Never,
}

fn record_frame(sequence: u64, record: &Record<'_>) -> Vec<u8> {
    let Record { time, data, refused, payload } = *record;
    frame::encode(&Event::Record { sequence, time, data, refused: encode_reasons(refused) }, payload)
}
