//! What the sparklines show: the last values of a few series, and where they had none.

use std::collections::{BTreeMap, VecDeque};

use super::snapshot::Snapshot;

/// More points than the widest sparkline has columns.
const LENGTH: usize = 256;

/// The last points of each series, newest at the end; `None` where it was absent.
#[derive(Clone, Debug, Default)]
pub(super) struct History(BTreeMap<String, VecDeque<Option<f64>>>);

impl History {
    /// Adds one point to every series. One that had no value for the whole length is forgotten.
    pub(super) fn push(&mut self, snapshot: &Snapshot) {
        let charted: BTreeMap<&str, Option<f64>> = snapshot.charted().collect();
        for (name, _) in charted.iter().filter(|(_, value)| value.is_some()) {
            if !self.0.contains_key(*name) {
                self.0.insert((*name).to_owned(), VecDeque::with_capacity(LENGTH));
            }
        }
        self.0.retain(|name, points| {
            if points.len() == LENGTH {
                points.pop_front();
            }
            points.push_back(charted.get(name.as_str()).copied().flatten());
            points.iter().any(Option::is_some)
        });
    }

    /// The last `count` points of a series, oldest first; fewer where there are no more.
    pub(super) fn last(&self, name: &str, count: usize) -> impl ExactSizeIterator<Item = Option<f64>> {
        let points = self.0.get(name);
        let length = points.map_or(0, VecDeque::len).min(count);
        let newest_first = points.into_iter().flat_map(|points| points.iter().rev().copied());
        let mut last: Vec<_> = newest_first.take(length).collect();
        last.reverse();
        last.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(cpu: Option<f64>) -> Snapshot {
        Snapshot { cpu, ..Snapshot::default() }
    }

    #[test]
    fn a_gap_is_kept_as_a_gap() {
        let mut history = History::default();
        [None, Some(1.0), None, Some(3.0)].map(snapshot).iter().for_each(|snapshot| history.push(snapshot));
        assert_eq!(history.last("CPU", 9).collect::<Vec<_>>(), [Some(1.0), None, Some(3.0)]);
        assert_eq!(history.last("CPU", 2).collect::<Vec<_>>(), [None, Some(3.0)]);
        assert_eq!(history.last("no such", 2).len(), 0);
    }

    #[test]
    fn it_is_bounded_and_forgets_what_is_gone() {
        let mut history = History::default();
        (0..2 * LENGTH).for_each(|_| history.push(&snapshot(Some(1.0))));
        assert_eq!(history.last("CPU", usize::MAX).len(), LENGTH);
        (0..LENGTH).for_each(|_| history.push(&snapshot(None)));
        assert!(history.0.is_empty());
    }
}
