//! The publisher: takes closed windows and delivers them, on a thread of its own.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::client::{Client, ClientError};
use super::delivery::{Delivery, Message, Rhythm, Service};
use super::rehearsal::{Rehearsal, Show};
use super::spool::{OpenError, Spool};
use super::status::Status;
use crate::ledger::Reason;
use crate::publication::Publication;
use crate::windows::Window;

/// Windows on their way to the publisher's thread: a minute's worth at the shortest period.
const QUEUE: usize = 64;

/// How long after its deadline a thread may come to its end. One that hangs in a call to a dead disk stays behind.
const GRACE: Duration = Duration::from_secs(1);

/// What a publisher needs.
#[derive(Debug)]
pub struct Settings {
    /// What is published.
    pub publication: Publication,
    /// The period of the windows to take; others are left alone.
    pub period: Duration,
    /// Who this is: it decides when in a period requests go.
    pub host: String,
    /// Where data wait; `None`: in memory only.
    pub spool: Option<PathBuf>,
    /// The most bytes that wait on disk.
    pub spool_max_bytes: u64,
}

/// Publishes windows to CloudWatch. What was not delivered when it is dropped stays in the spool.
pub struct Publisher {
    publication: Publication,
    period: Duration,
    windows: Option<mpsc::Sender<Message>>,
    /// Data lost since the thread was last told.
    overrun: AtomicU32,
    deadline: watch::Sender<Option<Instant>>,
    status: Arc<Mutex<Status>>,
    /// Closed when the thread has ended.
    running: Option<blocking::Receiver<()>>,
    destination: Option<String>,
}

/// Why publishing cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The namespace or the Host breaks a rule of CloudWatch.
    Invalid(String),
    /// No region, no credentials, or a bad endpoint.
    Client(ClientError),
    /// The spool belongs to another agent.
    Spool(OpenError),
    /// The operating system gives no thread or no event queue.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) => f.write_str(what),
            Self::Client(error) => error.fmt(f),
            Self::Spool(error) => error.fmt(f),
            Self::System(error) => write!(f, "the operating system refuses a thread or an event queue: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("destination", &self.destination).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Starts publishing with AWS's standard environment: region, credentials, endpoint, proxy.
    ///
    /// # Errors
    ///
    /// What keeps it from ever working. A service that cannot be reached now is none: data wait.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let rhythm = Rhythm::of(&settings.host, settings.period);
        Self::spawn(settings, rhythm, |runtime| {
            let client = runtime.block_on(Client::from_environment()).map_err(StartError::Client)?;
            let (endpoint, region) = (client.endpoint(), client.region());
            let destination = format!("{endpoint} (region {region}, credentials: {})", client.credentials());
            Ok((client, Some(destination)))
        })
    }

    /// Starts a rehearsal: nothing is sent, and `show` gets each request instead. It needs neither region nor
    /// credentials, and uses no spool.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), as far as that applies.
    pub fn rehearse(settings: Settings, show: Show) -> Result<Self, StartError> {
        let settings = Settings { spool: None, ..settings };
        let rhythm = Rhythm::of(&settings.host, settings.period).at_once();
        Self::spawn(settings, rhythm, move |_| Ok((Rehearsal::new(show, rhythm.spread), None)))
    }

    fn spawn<S: Service + 'static>(
        settings: Settings,
        rhythm: Rhythm,
        connect: impl FnOnce(&tokio::runtime::Runtime) -> Result<(S, Option<String>), StartError> + Send + 'static,
    ) -> Result<Self, StartError> {
        let Settings { publication, period, spool, spool_max_bytes, .. } = settings;
        publication.check().map_err(StartError::Invalid)?;
        let spool = match spool {
            Some(folder) => Spool::open(&folder, spool_max_bytes).map_err(StartError::Spool)?,
            None => Spool::in_memory(spool_max_bytes),
        };
        let ours = publication.clone();
        let (tell, told) = blocking::sync_channel(1);
        let (windows, taken) = mpsc::channel(QUEUE);
        let (deadline, until) = watch::channel(None);
        let status = Arc::new(Mutex::new(Status::default()));
        let theirs = Arc::clone(&status);
        let (alive, running) = blocking::channel();
        let work = move || {
            let _alive: blocking::Sender<()> = alive;
            let start = || -> Result<_, StartError> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(StartError::System)?;
                let (service, destination) = connect(&runtime)?;
                Ok((runtime, service, destination))
            };
            match start() {
                Ok((runtime, service, destination)) => {
                    if let Some(destination) = &destination {
                        log::info!("cloudwatch: publishing to {destination}");
                    }
                    runtime.block_on(async {
                        let clock = Box::new(SystemTime::now);
                        let delivery = Delivery::new(service, publication, spool, clock, theirs, rhythm);
                        // Who waits for it does so until it is told. From now on it shows what the spool holds.
                        let _ = tell.send(Ok(destination));
                        delivery.run(taken, until).await;
                    });
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        };
        thread::Builder::new().name("hostgauge-cloud".into()).spawn(work).map_err(StartError::System)?;
        let destination = told
            .recv()
            .map_err(|_| StartError::System(io::Error::other("the publisher's thread ended before it began")))??;
        Ok(Self {
            publication: ours,
            period,
            windows: Some(windows),
            overrun: AtomicU32::new(0),
            deadline,
            status,
            running: Some(running),
            destination,
        })
    }

    /// Where data go, and as whom: for a person. `None` in a rehearsal.
    pub fn destination(&self) -> Option<&str> {
        self.destination.as_deref()
    }

    /// Takes a closed window, if it is of the publisher's period. Never blocks: a thread that cannot keep up (a spool
    /// on a disk that hangs) costs windows, which are counted.
    pub fn take(&self, window: &Arc<Window>) {
        let Some(windows) = self.windows.as_ref().filter(|_| window.period == self.period) else { return };
        let overrun = self.overrun.swap(0, Ordering::Relaxed);
        let message = Message { window: Arc::clone(window), overrun };
        if windows.try_send(message).is_err() {
            let lost = overrun + self.publication.count(window) as u32;
            self.overrun.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// How it goes.
    pub fn status(&self) -> Status {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let overrun = u64::from(self.overrun.load(Ordering::Relaxed));
        status.totals.taken += overrun;
        status.totals.drop_data(Reason::Overrun, overrun);
        status
    }

    /// What was taken before is the last: it is sent until `patience` ends; the rest stays in the spool.
    pub fn finish(mut self, patience: Duration) -> Status {
        self.stop(patience);
        self.status()
    }

    /// Something that ends [`finish`](Self::finish) at once, from another thread: what is not sent stays in the spool.
    pub fn hurry(&self) -> impl Fn() + Send + Sync + use<> {
        let deadline = self.deadline.clone();
        move || {
            deadline.send_replace(Some(Instant::now()));
        }
    }

    fn stop(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        // Somebody in a hurry may have been here before.
        self.deadline.send_modify(|deadline| *deadline = Some(deadline.map_or(until, |sooner| sooner.min(until))));
        drop(self.windows.take());
        let ended = self.running.take().map(|running| running.recv_timeout(patience + GRACE));
        if ended == Some(Err(blocking::RecvTimeoutError::Timeout)) {
            log::error!("cloudwatch: the spool's disk does not answer; what was not written there is lost");
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.stop(Duration::ZERO);
        }
    }
}
