use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use tempfile::TempDir;

use super::folder::full_disk;
use super::frame::{Found, scan};
use super::*;

mod model;
mod removed;
mod telling;
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
