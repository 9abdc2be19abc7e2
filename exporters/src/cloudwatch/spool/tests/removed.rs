//! A folder whose files go away, or cannot be read, while they are used.

use super::*;

#[test]
fn a_folder_that_was_removed_is_made_again_and_only_what_was_in_it_is_lost() {
    let home = folder();
    let path = home.path().join("spool");
    let mut spool = Spool::open(&path, MAX).unwrap();
    (0..3).for_each(|time| append(&mut spool, time, 100));
    fs::remove_dir_all(&path).unwrap();
    (3..6).for_each(|time| append(&mut spool, time, 100));
    assert!(spool.is_durable() && path.join("lock").exists());
    assert_eq!(sequences(&mut spool), [5, 4, 3]);
    assert_eq!(spool.totals().dropped(Reason::Damaged), 9);
    check(&mut spool);
    assert!(matches!(Spool::open(&path, MAX), Err(OpenError::Taken(_))), "and it is locked again");
    drop(spool);
    let mut spool = Spool::open(&path, MAX).unwrap();
    assert_eq!(sequences(&mut spool), [5, 4, 3], "they outlast the agent");
    check(&mut spool);
}

#[test]
fn a_file_that_was_removed_takes_no_more() {
    let folder = folder();
    let mut spool = open(&folder);
    append(&mut spool, 0, 100);
    fs::remove_file(folder.path().join(&files(&folder)[0])).unwrap();
    append(&mut spool, 1, 100);
    drop(spool);
    assert_eq!(sequences(&mut open(&folder)), [1]);
}

#[test]
fn a_folder_that_was_moved_away_costs_what_is_in_it_until_that_is_missed() {
    let home = folder();
    let path = home.path().join("spool");
    let mut spool = Spool::open(&path, MAX).unwrap();
    append(&mut spool, 0, 100);
    fs::rename(&path, home.path().join("elsewhere")).unwrap();
    assert!(sequences(&mut spool).is_empty());
    append(&mut spool, 1, 100);
    assert_eq!(sequences(&mut spool), [1]);
    check(&mut spool);
}

#[test]
fn files_that_cannot_be_read_now_are_kept_whole() {
    let folder = folder();
    let mut spool = open_small(&folder);
    (0..30).for_each(|time| append(&mut spool, time, 500));
    drop(spool);
    let names = files(&folder);
    // A link to itself stands for what a user with fewer rights meets: root may read all else.
    let victim = folder.path().join(&names[3]);
    fs::remove_file(&victim).unwrap();
    std::os::unix::fs::symlink(&victim, &victim).unwrap();
    let spool = open(&folder);
    assert!(spool.why().is_some_and(|why| why.contains(&names[3])), "{:?}", spool.why());
    drop(spool);
    assert_eq!(files(&folder), names);
}
