use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use tempfile::TempDir;

use super::folder::full_disk;
use super::frame::{Found, scan};
use super::*;

mod removed;
mod upgrades;

const MAX: u64 = 16 * 1024 * 1024;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &TempDir) -> Spool {
    Spool::open(folder.path(), MAX).unwrap()
}

/// With segments so small that a few records fill one.
fn open_small(folder: &TempDir) -> Spool {
    let mut spool = open(folder);
    spool.disk.as_mut().unwrap().segment_bytes = 2048;
    spool
}

/// A payload that tells of which record it is, and that none of it is missing.
fn payload(id: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|index| (id * 31 + index * 7) as u8).collect()
}

fn append(spool: &mut Spool, time: u64, bytes: usize) {
    spool.append(&Record { time, data: 3, refused: &[], payload: &payload(time, bytes) });
}

fn all(spool: &mut Spool) -> Vec<Entry> {
    spool.newest(|_| Choice::Take)
}

fn sequences(spool: &mut Spool) -> Vec<u64> {
    all(spool).into_iter().map(|entry| entry.sequence).collect()
}

fn files(folder: &TempDir) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| name(entry.unwrap())).collect();
    names.retain(|name| name != "lock");
    names.sort();
    names
}

fn size(folder: &TempDir) -> u64 {
    files(folder).iter().map(|name| fs::metadata(folder.path().join(name)).unwrap().len()).sum()
}

/// What holds at every moment.
fn check(spool: &mut Spool) {
    let given: u64 = all(spool).iter().map(|entry| u64::from(entry.data)).sum();
    let totals = spool.totals();
    assert_eq!(spool.pending_data(), given, "{totals:?}");
    assert_eq!(totals.taken, totals.published + totals.all_dropped() + given, "{totals:?}");
}

#[test]
fn what_is_appended_is_given_newest_first_also_after_a_kill() {
    let folder = folder();
    let mut spool = open(&folder);
    (0..5).for_each(|time| append(&mut spool, time, 100));
    for _ in 0..2 {
        let entries = all(&mut spool);
        assert_eq!(entries.iter().map(|entry| entry.time).collect::<Vec<_>>(), [4, 3, 2, 1, 0]);
        assert!(entries.iter().all(|entry| entry.data == 3 && entry.payload == payload(entry.time, 100)));
        assert!(entries.is_sorted_by(|newer, older| newer.sequence > older.sequence));
        assert_eq!((spool.oldest(), spool.pending_data(), spool.is_durable()), (Some(0), 15, true));
        check(&mut spool);
        drop(spool);
        spool = open(&folder);
    }
}

#[test]
fn records_are_chosen() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..20).for_each(|time| append(&mut spool, time, 500));
    let mut seen = Vec::new();
    let chosen = spool.newest(|meta| {
        assert_eq!((meta.payload_len, meta.data), (500, 3));
        seen.push(meta.time);
        match meta.time {
            12 => Choice::Stop,
            time if time % 2 == 0 => Choice::Take,
            _ => Choice::Skip,
        }
    });
    assert_eq!(chosen.iter().map(|entry| entry.time).collect::<Vec<_>>(), [18, 16, 14]);
    assert_eq!(seen, (12..20).rev().collect::<Vec<_>>());
}

#[test]
fn a_settled_record_is_never_given_again_and_the_totals_go_on() {
    let folder = folder();
    let mut spool = open(&folder);
    let refused = [(Reason::InvalidName, 2), (Reason::Refused, 1)];
    spool.append(&Record { time: 1, data: 10, refused: &refused, payload: b"one" });
    spool.append(&Record { time: 2, data: 5, refused: &[], payload: b"two" });
    spool.settle(0, 7, &[(Reason::Refused, 3)]);
    spool.settle(0, 7, &[(Reason::Refused, 3)]);
    spool.settle(99, 7, &[]);
    let totals = spool.totals();
    assert_eq!((totals.taken, totals.published), (18, 7));
    assert_eq!((totals.dropped(Reason::InvalidName), totals.dropped(Reason::Refused)), (2, 4));
    drop(spool);
    let mut spool = open(&folder);
    assert_eq!((sequences(&mut spool), spool.totals()), (vec![1], totals));
    check(&mut spool);
}

#[test]
fn a_record_without_data_only_counts() {
    let folder = folder();
    let mut spool = open(&folder);
    spool.append(&Record { time: 1, data: 0, refused: &[(Reason::InvalidName, 2)], payload: b"" });
    drop(spool);
    let mut spool = open(&folder);
    assert_eq!((spool.totals().taken, spool.totals().dropped(Reason::InvalidName), all(&mut spool)), (2, 2, vec![]));
}

#[test]
fn an_attempt_without_an_end_is_ambiguous_and_counted_once() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..20).for_each(|time| append(&mut spool, time, 500));
    spool.attempt(&[0, 1, 19]);
    spool.failed(&[0], false);
    spool.failed(&[1], true);
    assert_eq!(spool.totals().ambiguous, 3);
    for _ in 0..3 {
        drop(spool);
        spool = open_small(&folder);
        assert_eq!(spool.totals().ambiguous, 6, "the killed one too");
        assert_eq!(sequences(&mut spool).len(), 20);
    }
    append(&mut spool, 20, 500);
    drop(spool);
    assert_eq!(open(&folder).totals().ambiguous, 6);
}

#[test]
fn an_attempt_outlives_the_segment_in_which_it_began() {
    let folder = folder();
    let mut spool = open_small(&folder);
    append(&mut spool, 0, 1800);
    append(&mut spool, 1, 1700);
    spool.attempt(&[0]);
    append(&mut spool, 2, 1800);
    spool.settle(1, 3, &[]);
    assert_eq!(files(&folder).len(), 2, "the segment with the attempt is gone");
    drop(spool);
    assert_eq!(open(&folder).totals().ambiguous, 3);
}

#[test]
fn segments_go_when_nothing_in_them_is_pending() {
    let folder = folder();
    let mut spool = open(&folder);
    (0..30).for_each(|time| append(&mut spool, time, 28_000));
    assert_eq!(files(&folder).len(), 4, "of 256 KiB each");
    assert_eq!(spool.bytes(), size(&folder));
    (10..30).for_each(|sequence| spool.settle(sequence, 3, &[]));
    assert_eq!(files(&folder).len(), 3, "two with pending ones, and the one in use");
    (0..10).for_each(|sequence| spool.settle(sequence, 3, &[]));
    assert_eq!(files(&folder).len(), 1);
    let totals = spool.totals();
    assert_eq!((totals.taken, totals.published, spool.oldest()), (90, 90, None));
    drop(spool);
    assert_eq!(open(&folder).totals(), totals);
}

#[test]
fn a_large_record_has_its_own_segment() {
    let folder = folder();
    let mut spool = open(&folder);
    [100, 1_000_000, 100].iter().enumerate().for_each(|(time, bytes)| append(&mut spool, time as u64, *bytes));
    assert_eq!(files(&folder).len(), 3);
    drop(spool);
    let entries = all(&mut open(&folder));
    assert!(entries.iter().all(|entry| entry.payload == payload(entry.time, entry.payload.len())));
    assert_eq!(entries[1].payload.len(), 1_000_000);
}

#[test]
fn beyond_the_bound_the_oldest_go_and_are_counted() {
    let folder = folder();
    let bound = 200_000;
    let mut spool = Spool::open(folder.path(), bound).unwrap();
    for time in 0..100 {
        append(&mut spool, time, 7000);
        assert!(size(&folder) <= bound, "{} at {time}", size(&folder));
        check(&mut spool);
    }
    let kept = sequences(&mut spool);
    assert_eq!(kept, (100 - kept.len() as u64..100).rev().collect::<Vec<_>>());
    assert!((18..28).contains(&kept.len()), "{}", kept.len());
    let totals = spool.totals();
    assert_eq!(totals.dropped(Reason::Full), 3 * (100 - kept.len() as u64));
    drop(spool);
    let mut spool = open(&folder);
    assert_eq!((spool.totals(), sequences(&mut spool)), (totals, kept));
}

#[test]
fn a_record_that_can_never_fit_is_dropped_alone() {
    let folder = folder();
    let mut spool = Spool::open(folder.path(), 100_000).unwrap();
    append(&mut spool, 0, 1000);
    append(&mut spool, 1, 100_000);
    assert_eq!((sequences(&mut spool), spool.totals().dropped(Reason::Full)), (vec![0], 3));
    check(&mut spool);
}

#[test]
fn a_second_agent_is_told_whose_folder_it_is() {
    let folder = folder();
    let first = open(&folder);
    let error = Spool::open(folder.path(), MAX).unwrap_err();
    assert_eq!(error, OpenError::Taken(folder.path().to_owned()));
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    drop(first);
    open(&folder);
}

#[test]
fn nobody_else_may_read_it_and_foreign_files_stay() {
    let folder = folder();
    let path = folder.path().join("made/here");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    drop(Spool::open(&path, MAX).unwrap());
    let names = ["notes.txt", "1.spool", "0000000000000000000x.spool", "99999999999999999999.spool"];
    names.iter().for_each(|name| fs::write(path.join(name), "mine").unwrap());
    let mut spool = Spool::open(&path, MAX).unwrap();
    append(&mut spool, 1, 10);
    assert_eq!((mode(&path), mode(&path.join("00000000000000000000.spool"))), (0o700, 0o600));
    spool.settle(0, 3, &[]);
    assert!(names.iter().all(|name| fs::read(path.join(name)).unwrap() == b"mine"));
}

#[test]
fn a_folder_that_cannot_be_used_makes_a_spool_in_memory() {
    let folder = folder();
    fs::write(folder.path().join("file"), "").unwrap();
    let mut spool = Spool::open(&folder.path().join("file/spool"), MAX).unwrap();
    assert!(!spool.is_durable());
    assert!(spool.why().unwrap().contains("file/spool"), "{:?}", spool.why());
    (0..3).for_each(|time| append(&mut spool, time, 1_000_000));
    assert_eq!(sequences(&mut spool), [2, 1]);
    assert_eq!(spool.totals().dropped(Reason::Full), 3);
    spool.attempt(&[1, 2]);
    spool.failed(&[1], true);
    spool.settle(2, 3, &[]);
    assert_eq!((spool.totals().published, spool.totals().ambiguous, spool.oldest()), (3, 3, Some(1)));
    check(&mut spool);
}

#[test]
fn a_full_disk_is_waited_out_in_memory() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..6).for_each(|time| append(&mut spool, time, 500));
    full_disk::set(Some(700));
    (6..12).for_each(|time| append(&mut spool, time, 500));
    assert!(!spool.is_durable() && spool.why().is_some());
    assert_eq!(sequences(&mut spool), (0..12).rev().collect::<Vec<_>>());
    assert_eq!(size(&folder), spool.bytes() - spool.memory.bytes(), "nothing is left of the write that failed");
    // Nothing of this can be written while the disk is full.
    spool.attempt(&[2, 8, 9]);
    spool.failed(&[9], true);
    spool.settle(2, 3, &[]);
    spool.settle(8, 2, &[(Reason::Refused, 1)]);
    check(&mut spool);
    full_disk::set(None);
    append(&mut spool, 12, 500);
    assert!(spool.is_durable() && spool.why().is_none());
    let expected: Vec<u64> = (0..13).rev().filter(|sequence| ![2, 8].contains(sequence)).collect();
    let totals = spool.totals();
    for _ in 0..2 {
        assert_eq!((sequences(&mut spool), spool.totals()), (expected.clone(), totals));
        check(&mut spool);
        drop(spool);
        spool = open_small(&folder);
    }
}

#[test]
fn a_disk_that_the_spool_itself_filled_takes_records_again_once_some_are_done() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..9).for_each(|time| append(&mut spool, time, 500));
    full_disk::set(Some(0));
    append(&mut spool, 9, 500);
    (0..9).for_each(|sequence| spool.settle(sequence, 3, &[]));
    assert!(files(&folder).len() > 1);
    append(&mut spool, 10, 500);
    assert_eq!(files(&folder).len(), 1, "what is done makes room");
    full_disk::set(None);
    append(&mut spool, 11, 500);
    drop(spool);
    let mut spool = open(&folder);
    assert_eq!((sequences(&mut spool), spool.totals().published), (vec![11, 10, 9], 27));
    check(&mut spool);
}

#[test]
fn no_folder_and_nothing_to_keep() {
    let mut spool = Spool::in_memory(100);
    (0..3).for_each(|time| append(&mut spool, time, 40));
    assert_eq!((sequences(&mut spool), spool.bytes(), spool.pending_data()), (vec![2, 1], 80, 6));
    check(&mut spool);
}

#[test]
fn files_that_are_no_segments_are_set_aside_and_the_others_go_on() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..9).for_each(|time| append(&mut spool, time, 500));
    drop(spool);
    for number in [50, 51, 52] {
        fs::write(folder.path().join(format!("{number:020}.spool")), "of a later version").unwrap();
    }
    fs::create_dir(folder.path().join(format!("{:020}.spool", 53))).unwrap();
    let mut spool = open_small(&folder);
    assert_eq!(sequences(&mut spool).len(), 9);
    let aside: Vec<String> = files(&folder).into_iter().filter(|name| name.ends_with(".damaged")).collect();
    assert!((1..=2).contains(&aside.len()), "{aside:?}");
    append(&mut spool, 9, 500);
    assert!(files(&folder).contains(&format!("{:020}.spool", 54)), "{:?}", files(&folder));
    check(&mut spool);
}

#[test]
fn a_payload_damaged_while_it_lies_there_is_settled_as_damaged() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..9).for_each(|time| append(&mut spool, time, 500));
    let file = folder.path().join(&files(&folder)[1]);
    let mut content = fs::read(&file).unwrap();
    let at = content.len() - 100;
    content[at] ^= 1;
    fs::write(&file, content).unwrap();
    assert_eq!(sequences(&mut spool).len(), 8);
    for _ in 0..3 {
        check(&mut spool);
        assert_eq!((spool.totals().dropped(Reason::Damaged), spool.totals().taken), (3, 27));
        drop(spool);
        spool = open_small(&folder);
    }
    append(&mut spool, 9, 500);
    (0..10).for_each(|sequence| spool.settle(sequence, 3, &[]));
    assert_eq!((spool.totals().dropped(Reason::Damaged), spool.totals().published), (3, 27));
    assert!(files(&folder)[0].ends_with("1.spool.damaged"), "kept for whoever wants to look");
    drop(spool);
    assert_eq!(open(&folder).totals().dropped(Reason::Damaged), 3);
}

#[test]
fn a_file_that_somebody_removed_counts_as_damaged() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..9).for_each(|time| append(&mut spool, time, 500));
    fs::remove_file(folder.path().join(&files(&folder)[0])).unwrap();
    let left = sequences(&mut spool);
    let lost = 3 * (9 - left.len() as u64);
    assert!(lost > 0);
    check(&mut spool);
    assert_eq!(spool.totals().dropped(Reason::Damaged), lost);
    drop(spool);
    let mut spool = open(&folder);
    assert_eq!((sequences(&mut spool), spool.totals().dropped(Reason::Damaged)), (left, lost));
}

#[test]
fn a_write_that_failed_and_is_there_after_all_counts_once() {
    let folder = folder();
    let mut spool = open(&folder);
    append(&mut spool, 0, 100);
    full_disk::set(Some(0));
    append(&mut spool, 1, 100);
    full_disk::set(None);
    let left = record_frame(1, &Record { time: 1, data: 3, refused: &[], payload: &payload(1, 100) });
    let file = folder.path().join(&files(&folder)[0]);
    fs::write(&file, [fs::read(&file).unwrap(), left].concat()).unwrap();
    append(&mut spool, 2, 100);
    drop(spool);
    let mut spool = open(&folder);
    assert_eq!((sequences(&mut spool), spool.totals().taken), (vec![2, 1, 0], 9));
    spool.settle(1, 3, &[]);
    drop(spool);
    let mut spool = open(&folder);
    assert_eq!((sequences(&mut spool), spool.totals().taken), (vec![2, 0], 9));
    check(&mut spool);
}

#[test]
fn what_stands_twice_in_a_file_is_given_once() {
    let folder = folder();
    let mut spool = open(&folder);
    (0..3).for_each(|time| append(&mut spool, time, 100));
    drop(spool);
    let file = folder.path().join(&files(&folder)[0]);
    fs::write(&file, fs::read(&file).unwrap().repeat(2)).unwrap();
    let mut spool = open(&folder);
    assert_eq!((sequences(&mut spool), spool.totals().taken), (vec![2, 1, 0], 9));
    check(&mut spool);
}

/// What this thread said, by level.
mod said {
    use std::cell::RefCell;
    use std::sync::Once;

    use log::{Level, LevelFilter, Log, Metadata, Record};

    thread_local!(static SAID: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) });

    struct Logger;

    impl Log for Logger {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            SAID.with_borrow_mut(|said| said.push((record.level(), record.args().to_string())));
        }

        fn flush(&self) {}
    }

    /// Listens from now on.
    pub(super) fn listen() {
        static LOGGER: Once = Once::new();
        LOGGER.call_once(|| {
            log::set_logger(&Logger).unwrap();
            log::set_max_level(LevelFilter::Info);
        });
        SAID.take();
    }

    /// What was said since then.
    pub(super) fn since() -> Vec<(Level, String)> {
        SAID.take()
    }
}

#[test]
fn an_outage_of_the_disk_is_said_once_and_its_end_too() {
    let folder = folder();
    let mut spool = open(&folder);
    said::listen();
    for _ in 0..2 {
        full_disk::set(Some(0));
        (0..5).for_each(|time| append(&mut spool, time, 10));
        spool.settle(0, 3, &[]);
        full_disk::set(None);
        (0..5).for_each(|time| append(&mut spool, time, 10));
        let said = said::since();
        assert_eq!(said.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [log::Level::Error, log::Level::Info]);
        assert!(said.iter().all(|(_, what)| what.contains(folder.path().to_str().unwrap())), "{said:?}");
    }
}

#[test]
fn that_the_spool_is_full_is_said_once_until_it_was_empty() {
    let folder = folder();
    let mut spool = Spool::open(folder.path(), 100_000).unwrap();
    said::listen();
    for _ in 0..2 {
        (0..50).for_each(|time| append(&mut spool, time, 7000));
        assert_eq!(said::since().iter().map(|(level, _)| *level).collect::<Vec<_>>(), [log::Level::Warn]);
        sequences(&mut spool).into_iter().for_each(|sequence| spool.settle(sequence, 3, &[]));
    }
}

#[test]
fn damage_is_said_with_its_file_and_place() {
    let folder = folder();
    let mut spool = open(&folder);
    (0..3).for_each(|time| append(&mut spool, time, 100));
    drop(spool);
    let file = folder.path().join(&files(&folder)[0]);
    let mut content = fs::read(&file).unwrap();
    content[0] ^= 1;
    fs::write(&file, content).unwrap();
    said::listen();
    open(&folder);
    let said = said::since();
    let what = format!("{} is damaged in 1 place(s), first at byte 0", file.display());
    assert!(said.iter().any(|(level, said)| *level == log::Level::Error && said.contains(&what)), "{said:?}");
}

/// What a caller does.
#[derive(Clone, Debug)]
enum Step {
    Append {
        bytes: usize,
        data: u32,
        refused: u32,
    },
    Attempt(prop::sample::Index),
    Failed {
        which: prop::sample::Index,
        ambiguous: bool,
    },
    Settle {
        which: prop::sample::Index,
        dropped: bool,
    },
    /// So many bytes fit on the disk from now on.
    Disk(Option<usize>),
    Kill,
    /// The last write, or the last few, did not get to the disk whole.
    Tear(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..900usize, 1..9u32, 0..2u32).prop_map(|(bytes, data, refused)| Step::Append { bytes, data, refused }),
        2 => which().prop_map(Step::Attempt),
        1 => (which(), any::<bool>()).prop_map(|(which, ambiguous)| Step::Failed { which, ambiguous }),
        4 => (which(), any::<bool>()).prop_map(|(which, dropped)| Step::Settle { which, dropped }),
        1 => Just(Step::Kill),
    ]
}

fn with_tears() -> impl Strategy<Value = Step> {
    prop_oneof![9 => step(), 1 => any::<prop::sample::Index>().prop_map(Step::Tear)]
}

fn with_full_disks() -> impl Strategy<Value = Step> {
    prop_oneof![6 => step(), 1 => prop::option::of(0..3000usize).prop_map(Step::Disk)]
}

/// Where in the log something stands: segment, and end of its frame. `None` while it is in memory only.
type Place = Option<(u64, u64)>;

/// What should be in the spool.
#[derive(Default)]
struct Model {
    records: BTreeMap<u64, Expected>,
    ambiguous: u64,
    damaged: u64,
}

struct Expected {
    data: u32,
    payload: Vec<u8>,
    stored: Place,
    attempted: Option<Place>,
    settled: Option<Place>,
}

impl Model {
    fn pending(&self) -> Vec<(u64, u32, u32)> {
        let pending = self.records.iter().rev().filter(|(_, it)| it.settled.is_none());
        pending.map(|(sequence, it)| (*sequence, it.data, crc32fast::hash(&it.payload))).collect()
    }

    fn choose(&self, which: prop::sample::Index) -> Option<u64> {
        let pending = self.pending();
        (!pending.is_empty()).then(|| pending[which.index(pending.len())].0)
    }

    /// The agent was killed; only what `survived` says is known to the next.
    fn kill(&mut self, survived: impl Fn(Place) -> bool) {
        self.records.retain(|_, it| survived(it.stored));
        for it in self.records.values_mut() {
            it.settled = it.settled.filter(|place| survived(*place));
            if it.settled.is_none() && it.attempted.take().is_some_and(&survived) {
                self.ambiguous += u64::from(it.data);
            }
        }
    }

    /// The disk takes records again: all that was in memory is on it.
    fn recovered(&mut self, place: Place) {
        for it in self.records.values_mut() {
            it.stored = it.stored.or(place);
            it.attempted = it.attempted.map(|old| old.or(place));
            it.settled = it.settled.map(|old| old.or(place));
        }
    }
}

/// Where the log ends now.
fn place(spool: &Spool) -> Place {
    let last = spool.disk.as_ref().unwrap().segments().last().filter(|_| spool.is_durable());
    last.map(|segment| (segment.number, segment.bytes))
}

fn run(steps: Vec<Step>) {
    let folder = folder();
    full_disk::set(None);
    let mut spool = open_small(&folder);
    let mut model = Model::default();
    // What was synchronised before a file was removed cannot be torn.
    let (mut before, mut floor) = (Vec::new(), None);
    for (time, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append { bytes, data, refused } => {
                let sequence = spool.book.next_sequence;
                let payload = payload(sequence, bytes);
                let refused = [(Reason::InvalidName, refused)];
                spool.append(&Record { time: time as u64, data, refused: &refused, payload: &payload });
                let stored = place(&spool);
                model.records.insert(sequence, Expected { data, payload, stored, attempted: None, settled: None });
                model.recovered(stored);
                // Some may have been moved to the disk before it was full again.
                let disk = spool.disk.as_ref().unwrap();
                let moved = model.records.iter_mut().filter(|(sequence, _)| disk.is_pending(**sequence));
                moved.for_each(|(_, it)| it.stored = it.stored.or(Some((0, 0))));
            }
            Step::Attempt(which) => {
                let Some(sequence) = model.choose(which) else { continue };
                spool.attempt(&[sequence]);
                model.records.get_mut(&sequence).unwrap().attempted = Some(place(&spool));
            }
            Step::Failed { which, ambiguous } => {
                let Some(sequence) = model.choose(which) else { continue };
                spool.failed(&[sequence], ambiguous);
                let expected = model.records.get_mut(&sequence).unwrap();
                if expected.attempted.take().is_some() && ambiguous {
                    model.ambiguous += u64::from(expected.data);
                }
            }
            Step::Settle { which, dropped } => {
                let Some(sequence) = model.choose(which) else { continue };
                let expected = model.records.get_mut(&sequence).unwrap();
                let lost = if dropped { 1 } else { 0 };
                spool.settle(sequence, expected.data - lost, &[(Reason::Refused, lost)]);
                expected.settled = Some(place(&spool));
            }
            Step::Disk(room) => full_disk::set(room),
            Step::Kill => {
                let exact = spool.is_durable();
                drop(spool);
                spool = open_small(&folder);
                // What was done while nothing could be written: given again, known from a segment that was begun at
                // last, or removed for its room.
                let given = sequences(&mut spool);
                let done = |it: &Expected| it.settled == Some(None) && it.stored.is_some();
                let gone = model.records.iter().filter(|(sequence, it)| done(it) && !given.contains(sequence));
                let most = model.damaged + gone.map(|(_, it)| u64::from(it.data)).sum::<u64>();
                model.records.retain(|sequence, it| !done(it) || given.contains(sequence));
                let damaged = spool.totals().dropped(Reason::Damaged);
                assert!((model.damaged..=most).contains(&damaged), "{damaged}");
                model.damaged = damaged;
                model.kill(|place| place.is_some());
                // What was in memory only was sent for all that, and nobody knows.
                model.ambiguous = if exact { model.ambiguous } else { spool.totals().ambiguous };
            }
            Step::Tear(at) => {
                drop(spool);
                let Some(name) = files(&folder).pop() else { return };
                let content = fs::read(folder.path().join(&name)).unwrap();
                let mut frames = scan(&content);
                frames.next();
                // The beginning of a segment is on disk before anything relies on it.
                let number: u64 = name.trim_end_matches(".spool").parse().unwrap();
                let synced = floor.filter(|(segment, _)| *segment == number).map_or(0, |(_, bytes)| bytes as usize);
                let start = frames.offset().max(synced);
                let end = start + at.index(content.len() + 1 - start);
                fs::write(folder.path().join(&name), &content[..end]).unwrap();
                spool = open_small(&folder);
                model.kill(|place| place.is_some_and(|(segment, bytes)| segment < number || bytes <= end as u64));
                model.ambiguous = spool.totals().ambiguous;
            }
        }
        let now = files(&folder);
        if !before.iter().all(|file| now.contains(file)) {
            floor = place(&spool);
        }
        before = now;
        check(&mut spool);
        let given =
            all(&mut spool).into_iter().map(|entry| (entry.sequence, entry.data, crc32fast::hash(&entry.payload)));
        assert_eq!(given.collect::<Vec<_>>(), model.pending());
        assert_eq!(spool.totals().ambiguous, model.ambiguous);
        assert_eq!(spool.totals().dropped(Reason::Damaged), model.damaged);
    }
    full_disk::set(None);
}

/// What happens to a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip(u8),
    Zero(usize),
    Garbage(Vec<u8>),
    Truncate,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..8u8).prop_map(Damage::Flip),
        (1..4096usize).prop_map(Damage::Zero),
        proptest::collection::vec(any::<u8>(), 1..100).prop_map(Damage::Garbage),
        Just(Damage::Truncate),
    ]
}

impl Damage {
    /// Does it; gives where the damage ends.
    fn apply(&self, content: &mut Vec<u8>, at: usize) -> usize {
        let end = match self {
            Self::Flip(bit) => {
                content[at] ^= 1 << bit;
                at + 1
            }
            Self::Zero(length) => (at + length).min(content.len()),
            Self::Garbage(bytes) => (at + bytes.len()).min(content.len()),
            Self::Truncate => content.len(),
        };
        match self {
            Self::Flip(_) => {}
            Self::Zero(_) => content[at..end].fill(0),
            Self::Garbage(bytes) => content[at..end].copy_from_slice(&bytes[..end - at]),
            Self::Truncate => content.truncate(at),
        }
        end
    }
}

/// The sequences of the records that lie wholly outside a range of the file.
fn outside(content: &[u8], from: usize, to: usize) -> Vec<u64> {
    let mut scan = scan(content);
    let mut found = Vec::new();
    loop {
        let start = scan.offset();
        let Some(item) = scan.next() else { return found };
        if let Found::Event { event: Event::Record { sequence, .. }, .. } = item
            && (scan.offset() <= from || start >= to)
        {
            found.push(sequence);
        }
    }
}

proptest! {
    // Whatever is done, and wherever it is killed or its last write torn: what was stored and not settled is given,
    // nothing else is, and every datum is accounted for.
    #[test]
    fn kills_and_torn_writes_lose_nothing(steps in proptest::collection::vec(with_tears(), 1..60)) {
        run(steps);
    }

    // The same while the disk gets full and has room again.
    #[test]
    fn full_disks_lose_nothing_that_was_stored(steps in proptest::collection::vec(with_full_disks(), 1..60)) {
        run(steps);
    }

    // Whatever happens to a file: what lies outside of the damage is given, no payload is wrong, every datum is
    // accounted for, and opening again comes to the same.
    #[test]
    fn damage_costs_no_more_than_what_it_hits(
        records in 1..25u64,
        settled in proptest::collection::btree_set(0..25u64, 0..10),
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), damage()), 1..3),
    ) {
        let folder = folder();
        let mut spool = open_small(&folder);
        (0..records).for_each(|time| append(&mut spool, time, 100 + 60 * (time as usize % 9)));
        settled.iter().for_each(|sequence| spool.settle(*sequence, 3, &[]));
        let mut safe: Vec<u64> = sequences(&mut spool);
        drop(spool);
        for (file, at, damage) in hits {
            let names = files(&folder);
            let path = folder.path().join(&names[file.index(names.len())]);
            let mut content = fs::read(&path).unwrap();
            if content.is_empty() {
                continue;
            }
            let (before, from) = (content.clone(), at.index(content.len()));
            let to = damage.apply(&mut content, from);
            let spared = outside(&before, from, to);
            let hit = outside(&before, 0, 0).into_iter().filter(|sequence| !spared.contains(sequence));
            hit.for_each(|hit| safe.retain(|sequence| *sequence != hit));
            fs::write(&path, content).unwrap();
        }
        let mut spool = open_small(&folder);
        let totals = spool.totals();
        for _ in 0..2 {
            check(&mut spool);
            prop_assert_eq!(spool.totals(), totals);
            let given = all(&mut spool);
            for entry in &given {
                prop_assert_eq!(&entry.payload, &payload(entry.time, 100 + 60 * (entry.time as usize % 9)));
            }
            for sequence in &safe {
                prop_assert!(given.iter().any(|entry| entry.sequence == *sequence), "{} of {:?}", sequence, given);
            }
            drop(spool);
            spool = open_small(&folder);
        }
        append(&mut spool, 100, 100);
        check(&mut spool);
        let totals = spool.totals();
        drop(spool);
        let mut spool = open_small(&folder);
        check(&mut spool);
        prop_assert_eq!(spool.totals(), totals);
    }
}
