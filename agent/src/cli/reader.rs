//! A collector that is read in place, or from a thread of its own where it can hang.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use hostgauge_collectors::{CollectError, Collector, Reason, Sample};

type Reading = (Vec<Sample>, Result<(), CollectError>);

pub(super) enum Reader {
    InPlace(Box<dyn Collector>),
    Apart {
        name: &'static str,
        ask: Sender<()>,
        readings: Receiver<Reading>,
        /// It did not answer in time, and is asked no more.
        stuck: bool,
    },
}

fn read(collector: &mut dyn Collector) -> Reading {
    let mut samples = Vec::new();
    let outcome = collector.collect(&mut samples);
    (samples, outcome)
}

impl Reader {
    pub(super) fn new(mut collector: Box<dyn Collector>) -> io::Result<Self> {
        if !collector.may_block() {
            return Ok(Self::InPlace(collector));
        }
        let name = collector.name();
        let (ask, asked) = channel();
        let (tell, readings) = channel();
        thread::Builder::new().name("hostgauge-apart".into()).spawn(move || {
            for () in asked {
                // Nobody waits any more after a time-out.
                let _ = tell.send(read(collector.as_mut()));
            }
            // What it holds of a driver is let go before `tell`, whose end is waited for.
            drop(collector);
            drop(tell);
        })?;
        Ok(Self::Apart { name, ask, readings, stuck: false })
    }

    /// One reading, or that it did not come back in time.
    pub(super) fn read(&mut self, patience: Duration) -> Reading {
        match self {
            Self::InPlace(collector) => read(collector.as_mut()),
            Self::Apart { name, ask, readings, stuck } => {
                let answer = if *stuck || ask.send(()).is_err() { None } else { readings.recv_timeout(patience).ok() };
                answer.unwrap_or_else(|| {
                    *stuck = true;
                    let what = format!("{name}: the reading does not come back within {} s", patience.as_secs());
                    (Vec::new(), Err(CollectError::new(Reason::TimedOut, what)))
                })
            }
        }
    }

    /// Lets go of what the collector holds. A thread that hangs is left behind.
    pub(super) fn end(self, patience: Duration) {
        if let Self::Apart { ask, readings, stuck: false, .. } = self {
            drop(ask);
            // It answers nothing more: this waits for its end.
            let _ = readings.recv_timeout(patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hostgauge_collectors::catalogue::CPU_CORES;

    /// Answers as soon as it is told to.
    struct Slow(Receiver<()>);

    impl Collector for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn may_block(&self) -> bool {
            true
        }

        fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
            let _ = self.0.recv();
            out.push(Sample::new(&CPU_CORES, 1.0));
            Ok(())
        }
    }

    #[test]
    fn a_reading_that_hangs_is_named_and_the_collector_is_left_alone() {
        let (wake, woken) = channel();
        let mut reader = Reader::new(Box::new(Slow(woken))).expect("a thread");
        wake.send(()).expect("it listens");
        let (samples, outcome) = reader.read(Duration::from_secs(60));
        assert_eq!((samples.len(), outcome), (1, Ok(())));
        let (samples, outcome) = reader.read(Duration::from_millis(10));
        let error = outcome.expect_err("it hangs");
        assert_eq!((samples.len(), error.reason()), (0, Reason::TimedOut));
        assert!(error.to_string().starts_with("slow: "), "{error}");
        // An answer that comes late is not taken for one of a later question.
        wake.send(()).expect("it listens");
        assert!(reader.read(Duration::from_secs(60)).1.is_err());
        reader.end(Duration::from_secs(60));
    }
}
