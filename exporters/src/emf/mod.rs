//! CloudWatch's embedded metric format: data as lines of JSON, on stdout or in a file, for who may not or cannot call
//! PutMetricData. Something else carries the lines to CloudWatch Logs, which makes metrics of them.
//!
//! Documented ("Specification: Embedded metric format" of the CloudWatch user guide): the members of `_aws`, at most
//! 100 metrics and 30 dimensions a line, a line of at most 1 MB (256 KB until 2025, and for some carriers still, so no
//! line here is longer than that), and that a metric is a number or an array of at most 100 numbers.
//!
//! Not documented, only seen in what CloudWatch's own senders emit (the awsemf exporter of the OpenTelemetry collector,
//! as it is part of the amazon-cloudwatch-agent): a metric that is an object of `Values`, `Counts`, `Max`, `Min`,
//! `Count` and `Sum`, or of the last four alone. They say there that the service takes the sum of `Counts` for the
//! sample count and ignores `Count`. A [`Distribution`](crate::datum::Figures::Distribution) is written so, since an
//! array of numbers could not hold a minute of samples; [`Value`](crate::datum::Figures::Value) is the documented
//! number.
//!
//! None of this ever ran against the real CloudWatch.
//!
//! Writing happens on a thread of its own, because stdout may be a pipe that nobody reads.

mod document;
mod output;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use document::{BYTES, Document, Line, METRICS, Refused, VALUES, document};
use output::Output;

use crate::datum::Datum;
use crate::ledger::{Reason, Totals};

/// The most data that wait for the output: two windows of as many series as there can be.
pub const QUEUED: u64 = 2 * crate::windows::SERIES as u64;
/// How long a sink that is merely dropped waits for its output.
const GRACE: Duration = Duration::from_secs(1);
/// Refused metrics that are named in the log; a program could make up names for ever.
const NAMED: usize = 100;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process's standard output.
    Stdout,
    /// The end of a file, which is created if it is not there. It may be renamed, removed or truncated at any time, as
    /// tools that rotate logs do.
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// The sink: takes data, writes lines, keeps count.
#[derive(Debug)]
pub struct Emf(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    totals: Totals,
    /// `None` once finished.
    queue: Option<Sender<Vec<Datum>>>,
    /// The thread has written all there was.
    ended: bool,
    /// Given up: what the thread still does counts no more.
    left: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Totals)) {
        let mut state = self.lock();
        if !state.left {
            change(&mut state.totals);
        }
    }
}

impl Emf {
    /// Opens the target and starts the thread that writes to it.
    ///
    /// # Errors
    ///
    /// The target cannot be appended to (a folder, a folder that is missing, no permission, a named pipe), or there is
    /// no thread to be had. The error names the target.
    pub fn spawn(target: Target, namespace: &str) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("embedded metric format: {target}: {error}"));
        let output = Output::open(&target).map_err(named)?;
        Self::start(output, target.to_string(), namespace).map_err(named)
    }

    fn start(output: Output, name: String, namespace: &str) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (sender, queue) = mpsc::channel();
        shared.lock().queue = Some(sender);
        let namespace = namespace.to_owned();
        let writer =
            Writer { output, name, namespace, shared: Arc::clone(&shared), failing: false, named: HashSet::new() };
        std::thread::Builder::new().name("emf".into()).spawn(move || writer.run(&queue))?;
        Ok(Self(shared))
    }

    /// Takes data to be written; never blocks. Where more than [`QUEUED`] wait already, these are given up
    /// ([`Reason::Overrun`]).
    pub fn publish(&self, data: Vec<Datum>) {
        let mut state = self.0.lock();
        let count = data.len() as u64;
        let room = state.totals.pending() + count <= QUEUED;
        state.totals.taken += count;
        let queued = room && state.queue.as_ref().is_some_and(|queue| queue.send(data).is_ok());
        if !queued {
            state.totals.drop_data(Reason::Overrun, count);
        }
    }

    /// What became of the data so far. Those that wait or are being written are pending.
    pub fn totals(&self) -> Totals {
        self.0.lock().totals
    }

    /// Writes what waits, for as long as given. What could not be written by then is given up
    /// ([`Reason::Unwritable`]), and the thread, which then hangs in the system, is left behind. Data published later
    /// are given up too.
    pub fn finish(&self, within: Duration) -> Totals {
        let mut state = self.0.lock();
        state.queue = None;
        let (mut state, _) = self
            .0
            .ended
            .wait_timeout_while(state, within, |state| !state.ended && !state.left)
            .unwrap_or_else(PoisonError::into_inner);
        state.left = true;
        let pending = state.totals.pending();
        state.totals.drop_data(Reason::Unwritable, pending);
        state.totals
    }
}

impl Drop for Emf {
    fn drop(&mut self) {
        self.finish(GRACE);
    }
}

/// What the thread owns.
struct Writer {
    output: Output,
    name: String,
    namespace: String,
    shared: Arc<Shared>,
    /// The last write failed, and this was said.
    failing: bool,
    named: HashSet<String>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Vec<Datum>>) {
        while let Ok(data) = queue.recv() {
            let document = document(&self.namespace, &data);
            self.refuse(document.refused);
            self.write(&document.lines);
        }
        self.shared.lock().ended = true;
        self.shared.ended.notify_all();
    }

    fn refuse(&mut self, refused: Vec<Refused>) {
        for Refused { metric, reason, why } in refused {
            self.shared.count(|totals| totals.drop_data(reason, 1));
            if self.named.len() < NAMED && !self.named.contains(&metric) {
                log::warn!("embedded metric format: {metric} is left out: {why}");
                self.named.insert(metric);
            }
        }
    }

    fn write(&mut self, lines: &[Line]) {
        let mut outcome = self.output.prepare();
        for line in lines {
            // After a failure the rest is not tried: an outage costs one attempt a window.
            outcome = outcome.and_then(|()| self.output.write_line(&line.text));
            self.shared.count(|totals| match outcome {
                Ok(()) => totals.published += line.data,
                Err(_) => totals.drop_data(Reason::Unwritable, line.data),
            });
        }
        if let Some((level, news)) = self.news(&outcome) {
            log::log!(level, "embedded metric format: {}: {news}", self.name);
        }
    }

    /// What is worth saying about a write: the beginning of an outage and its end.
    fn news(&mut self, outcome: &io::Result<()>) -> Option<(log::Level, String)> {
        let failing = std::mem::replace(&mut self.failing, outcome.is_err());
        match outcome {
            Err(error) if !failing => {
                Some((log::Level::Error, format!("{error}; data are lost until it can be written again")))
            }
            Ok(()) if failing => Some((log::Level::Info, "it can be written again".into())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datum::{Figures, Resolution};
    use std::fs;
    use std::io::Read as _;
    use std::path::Path;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    fn data(name: &str, count: usize) -> Vec<Datum> {
        let datum = |index| Datum {
            name: format!("{name}{index}"),
            dimensions: vec![("Host".to_owned(), "job/algo-1".to_owned())],
            start: 1_700_000_040_000,
            resolution: Resolution::Minute,
            unit: "Percent".into(),
            figures: Figures::Value(1.5),
            periods: 1,
        };
        (0..count).map(datum).collect()
    }

    /// Publishes one datum and waits until it has its fate.
    fn publish(emf: &Emf, name: &str) -> Totals {
        emf.publish(data(name, 1));
        settled(emf)
    }

    fn settled(emf: &Emf) -> Totals {
        let give_up = Instant::now() + LONG;
        while emf.totals().pending() > 0 {
            assert!(Instant::now() < give_up, "{:?}", emf.totals());
            std::thread::sleep(Duration::from_millis(1));
        }
        emf.totals()
    }

    fn names(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let name = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect(line);
            line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"].as_str().unwrap().to_owned()
        };
        text.lines().map(name).collect()
    }

    fn truncate(path: &Path) {
        fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    }

    #[test]
    fn a_file_may_be_renamed_removed_and_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("emf.log"), folder.path().join("emf.log.1"));
        let emf = Emf::spawn(Target::File(path.clone()), "n").unwrap();
        publish(&emf, "a");
        publish(&emf, "b");
        fs::rename(&path, &old).unwrap();
        publish(&emf, "c");
        assert_eq!((names(&old), names(&path)), (vec!["a0".into(), "b0".into()], vec!["c0".into()]));
        fs::rename(&path, &old).unwrap();
        fs::write(&path, "").unwrap();
        publish(&emf, "d");
        assert_eq!((names(&old), names(&path)), (vec!["c0".into()], vec!["d0".into()]), "the rotator made a new one");
        fs::remove_file(&path).unwrap();
        publish(&emf, "e");
        assert_eq!(names(&path), ["e0"]);
        fs::copy(&path, &old).unwrap();
        truncate(&path);
        let totals = publish(&emf, "f");
        assert_eq!((names(&old), names(&path)), (vec!["e0".into()], vec!["f0".into()]));
        assert_eq!((totals.taken, totals.published), (6, 6));
    }

    #[test]
    fn a_line_that_was_cut_off_by_another_life_is_ended_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("emf.log");
        fs::write(&path, "{\"_aws\":{").unwrap();
        publish(&Emf::spawn(Target::File(path.clone()), "n").unwrap(), "a");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"_aws\":{\n{\"_aws\":{\"Timestamp\""), "{text}");
        fs::write(&path, "{\"_aws\":{").unwrap();
        let emf = Emf::spawn(Target::File(path.clone()), "n").unwrap();
        truncate(&path);
        publish(&emf, "b");
        assert_eq!(names(&path), ["b0"], "truncated: nothing is there to be ended");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_costs_data_and_nothing_else() {
        let emf = Emf::spawn(Target::File("/dev/full".into()), "n").unwrap();
        emf.publish(data("a", 150));
        assert_eq!(settled(&emf).dropped(Reason::Unwritable), 150);
        assert_eq!(publish(&emf, "b").all_dropped(), 151);
    }

    #[test]
    fn an_outage_ends_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("away/emf.log");
        fs::create_dir(folder.path().join("away")).unwrap();
        let emf = Emf::spawn(Target::File(path.clone()), "n").unwrap();
        publish(&emf, "a");
        fs::remove_dir_all(folder.path().join("away")).unwrap();
        assert_eq!(publish(&emf, "b").dropped(Reason::Unwritable), 1);
        fs::create_dir(folder.path().join("away")).unwrap();
        assert_eq!(publish(&emf, "c").published, 2);
        assert_eq!(names(&path), ["c0"]);
    }

    #[test]
    fn a_pipe_that_nobody_reads_blocks_nobody() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let emf = Emf::start(Output::from(std::os::fd::OwnedFd::from(pipe)), "a pipe".into(), "n").unwrap();
        // Far more than a pipe holds, so the thread hangs.
        (0..4).for_each(|_| emf.publish(data("a", QUEUED as usize / 4)));
        emf.publish(data("b", QUEUED as usize));
        assert_eq!(emf.totals().dropped(Reason::Overrun), QUEUED);
        let totals = emf.finish(Duration::from_millis(50));
        assert_eq!((totals.pending(), totals.taken), (0, 2 * QUEUED));
        assert!(totals.dropped(Reason::Unwritable) > 0);
        // What the thread does from here on changes nothing.
        let mut some = [0; 1 << 16];
        reader.read_exact(&mut some).unwrap();
        drop(reader);
        emf.publish(data("late", 1));
        let late = emf.finish(Duration::ZERO);
        assert_eq!((late.published, late.taken), (totals.published, totals.taken + 1));
        assert_eq!(late.dropped(Reason::Overrun), totals.dropped(Reason::Overrun) + 1);
    }

    #[test]
    fn an_outage_is_said_once() {
        let mut writer = Writer {
            output: Output::open(&Target::Stdout).unwrap(),
            name: "stdout".into(),
            namespace: "n".into(),
            shared: Arc::default(),
            failing: false,
            named: HashSet::new(),
        };
        let full = || Err(io::ErrorKind::StorageFull.into());
        let said = [Ok(()), full(), full(), Ok(()), Ok(()), full()]
            .map(|outcome| writer.news(&outcome).map(|(level, _)| level));
        let (error, info) = (Some(log::Level::Error), Some(log::Level::Info));
        assert_eq!(said, [None, error, None, info, None, error]);
    }

    #[test]
    fn all_that_waits_is_written_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("emf.log");
        let emf = Emf::spawn(Target::File(path.clone()), "n").unwrap();
        (0..50).for_each(|index| emf.publish(data(&format!("{index}_"), 1)));
        let totals = emf.finish(LONG);
        assert_eq!((totals.taken, totals.published, totals.pending()), (50, 50, 0));
        assert_eq!(names(&path), (0..50).map(|index| format!("{index}_0")).collect::<Vec<_>>());
    }

    #[test]
    fn what_the_format_cannot_say_is_counted_as_invalid() {
        let folder = tempfile::tempdir().unwrap();
        let emf = Emf::spawn(Target::File(folder.path().join("emf.log")), "n").unwrap();
        let mut bad = data("Host", 2);
        bad[0].name = "Host".into();
        emf.publish(bad);
        let totals = settled(&emf);
        assert_eq!((totals.published, totals.dropped(Reason::InvalidName)), (1, 1));
    }

    #[test]
    fn an_unusable_file_is_named_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/emf.log");
        for path in [folder.path(), &path] {
            let error = Emf::spawn(Target::File(path.into()), "n").unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = Emf::spawn(Target::File(pipe), "n").unwrap_err();
        assert!(error.to_string().contains("named pipe"), "{error}");
    }
}
