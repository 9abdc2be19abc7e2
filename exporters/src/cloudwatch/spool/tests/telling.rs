//! What the log says of the disk: once when it changes.

use super::*;

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
fn what_was_done_while_the_disk_took_nothing_is_said_at_the_end() {
    let folder = folder();
    let mut spool = open(&folder);
    (0..3).for_each(|time| append(&mut spool, time, 10));
    spool.settle(0, 3, &[]);
    full_disk::set(Some(0));
    spool.settle(1, 2, &[(Reason::Refused, 1)]);
    append(&mut spool, 3, 10);
    spool.settle(3, 3, &[]);
    said::listen();
    spool.close();
    let said = said::since();
    assert!(said.len() == 1 && said[0].1.contains("3 data that are done stand in it as pending"), "{said:?}");
    // Once it takes something again, it has that, too.
    full_disk::set(None);
    append(&mut spool, 4, 10);
    said::listen();
    spool.close();
    assert_eq!(said::since(), []);
    drop(spool);
    assert_eq!(sequences(&mut open(&folder)), [4, 2]);
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
