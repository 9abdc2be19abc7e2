//! What other versions left in the folder.

use std::path::Path;

use super::*;
use crate::cloudwatch::record;

fn copy(fixture: &str, folder: &TempDir) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/spool").join(fixture);
    for file in fs::read_dir(&from).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
}

#[test]
fn earlier_versions_are_read() {
    for fixture in ["earliest", "nine_reasons"] {
        let folder = folder();
        copy(fixture, &folder);
        let mut spool = open(&folder);
        let totals = spool.totals();
        assert_eq!((totals.taken, totals.published, totals.all_dropped()), (36, 2, 1), "{fixture}");
        assert_eq!(totals.ambiguous, 3 + 6, "{fixture}: no answer, and on their way");
        check(&mut spool);
        let entries = all(&mut spool);
        assert_eq!(entries.len(), 11, "{fixture}");
        for entry in &entries {
            let record = record::Record::decode(&entry.payload).unwrap();
            assert_eq!(record.data.len() as u32, entry.data, "{fixture}");
            assert!(record.data.iter().all(|datum| datum.start == entry.time), "{fixture}");
        }
        append(&mut spool, 1, 100);
        assert_eq!(all(&mut spool)[0].sequence, 12, "{fixture}: it goes on where that version left off");
    }
}

#[test]
fn reasons_keep_their_numbers() {
    // As they stand in spools: a number that is given to another reason changes what was counted long ago.
    let numbers = [
        (Reason::InvalidName, 0),
        (Reason::InvalidDimension, 1),
        (Reason::InvalidValue, 2),
        (Reason::Refused, 3),
        (Reason::TooOld, 4),
        (Reason::Full, 5),
        (Reason::Damaged, 6),
        (Reason::Overrun, 7),
        (Reason::Unwritable, 8),
    ];
    assert!(numbers.iter().all(|(reason, number)| *reason as u8 == *number));
    let folder = folder();
    copy("nine_reasons", &folder);
    assert_eq!(open(&folder).totals().dropped(Reason::Refused), 1);
}

#[test]
fn a_later_version_is_refused_and_kept_whole() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..30).for_each(|time| append(&mut spool, time, 500));
    drop(spool);
    // The newer agent left what it found, and went on in its own format.
    let names = files(&folder);
    assert!(names.len() > 5, "more than are kept aside: {names:?}");
    for name in names.iter().skip(2) {
        let mut content = fs::read(folder.path().join(name)).unwrap();
        let magic = content[..3].to_vec();
        let frames: Vec<usize> = (0..content.len()).filter(|at| content[*at..].starts_with(&magic)).collect();
        frames.iter().for_each(|at| content[at + 3] = 2);
        fs::write(folder.path().join(name), content).unwrap();
    }
    let contents = || files(&folder).iter().map(|name| fs::read(folder.path().join(name)).unwrap()).collect::<Vec<_>>();
    let before = contents();
    let mut spool = open(&folder);
    let why = spool.why().unwrap_or_default().to_owned();
    assert!(why.contains(&names[2]) && why.contains("version 2") && why.contains("knows version 1"), "{why}");
    append(&mut spool, 1, 100);
    assert_eq!((spool.pending_data(), spool.is_durable()), (3, false), "in memory");
    drop(spool);
    assert_eq!((files(&folder), contents()), (names, before), "nothing was touched");
}

#[test]
fn damage_that_looks_like_a_later_version_costs_what_it_hits() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..30).for_each(|time| append(&mut spool, time, 500));
    let (expected, totals) = (sequences(&mut spool), spool.totals());
    drop(spool);
    // Only the first frames, which are the segments' beginnings.
    for name in files(&folder) {
        let mut content = fs::read(folder.path().join(&name)).unwrap();
        content[3] ^= 1 << 6;
        fs::write(folder.path().join(&name), content).unwrap();
    }
    let mut spool = open(&folder);
    assert_eq!((sequences(&mut spool), spool.totals(), spool.is_durable()), (expected, totals, true));
    check(&mut spool);
}
