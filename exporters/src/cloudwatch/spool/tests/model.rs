//! Any steps, kills, full disks and damage, against a model.

use super::*;

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

/// Whether this names a later version, and nothing says that it is damage.
fn is_foreign(content: &[u8]) -> bool {
    let name = &frame::encode(&Event::Attempt(Vec::new()), &[])[..4];
    let later = content.len() > 3 && content[..3] == name[..3] && content[3] > name[3];
    later && !scan(content).any(|found| matches!(found, Found::Event { .. }))
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
    // accounted for, and opening again comes to the same. Only where nothing can be read of a segment that names a later
    // version is the folder left alone.
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
        if files(&folder).iter().any(|name| is_foreign(&fs::read(folder.path().join(name)).unwrap())) {
            prop_assert!(open(&folder).why().is_some_and(|why| why.contains("nothing in it was touched")));
            return Ok(());
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
