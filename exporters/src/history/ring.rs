//! The rows themselves: a column for each series, all as long as the time axis, written over in a circle.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::Key;

use super::{Cell, MOST_SERIES};

/// All rows and the one that is open.
#[derive(Debug)]
pub(super) struct Ring {
    /// Milliseconds since the Unix epoch; row `r` stands at `r % points`, here and in every column.
    times: Box<[u64]>,
    /// The rows that can be read. Their numbers only grow.
    rows: Range<u64>,
    open: Option<Open>,
    series: Vec<Series>,
    /// How often the list of series changed.
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    slot: u64,
    time: u64,
    began: Instant,
}

#[derive(Debug)]
struct Series {
    key: Key,
    listed: usize,
    cell: Arc<Cell>,
    column: Box<[f32]>,
    /// The row after the last one with a value.
    silent_from: u64,
}

/// What a reader gets: rows of the past, oldest first.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub generation: u64,
    /// The most there can be.
    pub points: usize,
    pub times: Vec<u64>,
    pub series: Vec<Column>,
}

/// One series of [`Rows`]: a value for each time, NaN for a gap.
#[derive(Debug)]
pub(super) struct Column {
    pub key: Key,
    /// Its metric's place in the list.
    pub listed: usize,
    pub values: Vec<f32>,
}

impl Ring {
    pub(super) fn new(points: usize) -> Self {
        Self { times: vec![0; points].into(), rows: 0..0, open: None, series: Vec::new(), generation: 0 }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The newest row that has settled: its time, each series' value and its metric's place in the list.
    pub(super) fn newest(&self, settles: Duration) -> Option<(u64, impl Iterator<Item = (f32, usize)>)> {
        let (open, row) = (self.settled(settles), self.rows.clone().last());
        let time = open.map(|open| open.time).or_else(|| row.map(|row| self.at(&self.times, row)))?;
        let value = move |series: &Series| match (open, row) {
            (None, Some(row)) => self.at(&series.column, row),
            _ => series.cell.get(),
        };
        Some((time, self.series.iter().map(move |series| (value(series), series.listed))))
    }

    fn settled(&self, settles: Duration) -> Option<Open> {
        self.open.filter(|open| open.began.elapsed() >= settles)
    }

    /// Where the values of a series go; `None` if there are too many already.
    pub(super) fn cell(&mut self, key: &Key, listed: usize) -> Option<Arc<Cell>> {
        if let Some(series) = self.series.iter().find(|series| series.key == *key) {
            return Some(Arc::clone(&series.cell));
        }
        if self.series.len() >= MOST_SERIES {
            return None;
        }
        let cell = Arc::new(Cell::new());
        let column = vec![f32::NAN; self.times.len()].into();
        let (key, silent_from) = (key.clone(), self.rows.end);
        self.series.push(Series { key, listed, cell: Arc::clone(&cell), column, silent_from });
        self.generation += 1;
        Some(cell)
    }

    /// Ends the open row and begins that of `slot`, unless it is the one. Tells whether it began.
    pub(super) fn begin(&mut self, slot: u64, time: u64, now: Instant) -> bool {
        match self.open {
            Some(open) if open.slot == slot => return false,
            Some(open) if open.slot < slot => self.close(open),
            // What was set before any row, or is of a time that has not come yet.
            before => {
                self.series.iter().for_each(|series| series.cell.clear());
                if before.is_some() {
                    self.rows.start = self.rows.end;
                }
            }
        }
        self.open = Some(Open { slot, time, began: now });
        true
    }

    fn close(&mut self, open: Open) {
        let points = self.times.len() as u64;
        let (row, place) = (self.rows.end, (self.rows.end % points) as usize);
        if let Some(time) = self.times.get_mut(place) {
            *time = open.time;
        }
        let mut forgotten = false;
        for series in &mut self.series {
            let value = series.cell.take();
            if let Some(point) = series.column.get_mut(place) {
                *point = value;
            }
            if !value.is_nan() {
                series.silent_from = row + 1;
            }
            forgotten |= series.is_over(row, points);
        }
        self.rows.end += 1;
        self.rows.start = self.rows.start.max(self.rows.end.saturating_sub(points));
        if forgotten {
            self.series.retain(|series| !series.is_over(row, points));
            self.generation += 1;
        }
    }

    /// The rows whose time is within `since` milliseconds before the newest, or all. The open one is among them once it
    /// has settled.
    pub(super) fn copy(&self, since: Option<u64>, settles: Duration) -> Rows {
        let open = self.settled(settles);
        let newest =
            open.map(|open| open.time).or_else(|| self.rows.clone().last().map(|row| self.at(&self.times, row)));
        let oldest = newest.zip(since).map_or(0, |(newest, since)| newest.saturating_sub(since));
        let mut rows = self.rows.clone();
        // The open row takes the place of the oldest one that it will write over.
        if open.is_some() && rows.end - rows.start == self.times.len() as u64 {
            rows.start += 1;
        }
        while rows.start < rows.end && self.at(&self.times, rows.start) < oldest {
            rows.start += 1;
        }
        let series = self.series.iter().map(|series| {
            let mut values = self.stretch(&series.column, &rows);
            values.extend(open.map(|_| series.cell.get()));
            Column { key: series.key.clone(), listed: series.listed, values }
        });
        let mut times = self.stretch(&self.times, &rows);
        times.extend(open.map(|open| open.time));
        Rows { generation: self.generation, points: self.times.len(), times, series: series.collect() }
    }

    fn at<T: Copy + Default>(&self, column: &[T], row: u64) -> T {
        column.get((row % self.times.len() as u64) as usize).copied().unwrap_or_default()
    }

    /// A column's values of these rows, in order, with room for one more.
    fn stretch<T: Copy>(&self, column: &[T], rows: &Range<u64>) -> Vec<T> {
        let length = (rows.end - rows.start) as usize;
        let mut values = Vec::with_capacity(length + 1);
        let from = (rows.start % self.times.len() as u64) as usize;
        values.extend(column.iter().cycle().skip(from).take(length));
        values
    }
}

impl Series {
    /// Nobody can set it any more, and no row that is kept has a value of it.
    fn is_over(&self, row: u64, points: u64) -> bool {
        Arc::strong_count(&self.cell) == 1 && row + 1 - self.silent_from.min(row + 1) >= points
    }
}
