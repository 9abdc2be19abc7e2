//! hostgauge at work: what was prepared starts, and stops when it is dropped.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use hostgauge_collectors::Collector;
use hostgauge_exporters::history::History;
use hostgauge_exporters::prometheus::{Encoding, Format, Live, Page, Server, Site};
use tokio::sync::oneshot;

use super::Liveness;
use crate::error::Error;
use crate::page;
use crate::pipeline::Pipeline;
use crate::sampler::Sampler;

/// How often histograms of the program are folded into their buckets while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Everything that is needed, nothing started; the port is taken.
pub(super) struct Prepared {
    pub(super) interval: Duration,
    pub(super) patience: Duration,
    pub(super) collectors: Vec<Box<dyn Collector>>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) server: Option<(Server, String, Option<History>)>,
}

impl Prepared {
    pub(super) fn sample(self) -> Result<(Sampling, Option<(Server, Site)>), Error> {
        let Self { interval, patience, collectors, pipeline, server } = self;
        let page = pipeline.page.clone();
        let sampler = Sampler::spawn(collectors, interval, Arc::clone(&pipeline)).map_err(Error::System)?;
        let sampling = Sampling { sampler: Some(sampler), pipeline, patience };
        let server = server.zip(page).map(|((server, landing, history), page)| {
            let (landing, live) = (landing.into(), history.map(Live::new));
            (server, Site { page, landing, files: page::FILES, live, ready: sampling.readiness() })
        });
        Ok((sampling, server))
    }

    pub(super) fn start(self) -> Result<Hostgauge, Error> {
        let page = self.pipeline.page.clone();
        let (sampling, server) = self.sample()?;
        let address = match &server {
            Some((server, _)) => Some(server.address().map_err(Error::System)?),
            None => None,
        };
        // Dropping it on an early return stops what has started.
        let mut hostgauge = Hostgauge { sampling, page, address, helpers: Vec::new() };
        if let Some((server, site)) = server {
            let (stop, stopped) = oneshot::channel::<()>();
            hostgauge.help("hostgauge-page", stop, move || serve(server, site, stopped))?;
        }
        if let Some(page) = hostgauge.page.clone() {
            let (stop, stopped) = mpsc::channel::<()>();
            hostgauge.help("hostgauge-keep", stop, move || {
                while stopped.recv_timeout(UPKEEP) == Err(mpsc::RecvTimeoutError::Timeout) {
                    page.upkeep();
                }
            })?;
        }
        Ok(hostgauge)
    }
}

/// Collectors at work. Dropping it stops them, then delivers the last windows: until then, what was sampled is safe.
#[derive(Debug)]
pub(super) struct Sampling {
    sampler: Option<Sampler>,
    pub(super) pipeline: Arc<Pipeline>,
    patience: Duration,
}

impl Sampling {
    pub(super) fn liveness(&self) -> Liveness {
        match &self.sampler {
            Some(sampler) => Box::new(sampler.liveness()),
            None => Box::new(|| false),
        }
    }

    pub(super) fn readiness(&self) -> Box<dyn Fn() -> bool + Send + Sync> {
        match &self.sampler {
            Some(sampler) => Box::new(sampler.readiness()),
            None => Box::new(|| false),
        }
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        drop(self.sampler.take());
        self.pipeline.finish(self.patience);
    }
}

/// Serves on a runtime of its own, so that the program needs none.
fn serve(server: Server, site: Site, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| runtime.block_on(server.serve(site, async { drop(stopped.await) })));
    if let Err(error) = served {
        log::error!("the page is no longer served: {error}");
    }
}

/// hostgauge at work in this program. Dropping it stops sampling, closes the page, and delivers the last window, which
/// takes no longer than [`shutdown_timeout`](super::Builder::shutdown_timeout).
#[must_use = "dropping it stops hostgauge"]
#[derive(Debug)]
pub struct Hostgauge {
    sampling: Sampling,
    page: Option<Page>,
    address: Option<SocketAddr>,
    helpers: Vec<Helper>,
}

/// A thread that ends once `stop` is dropped.
#[derive(Debug)]
struct Helper {
    stop: Box<dyn Any + Send + Sync>,
    thread: thread::JoinHandle<()>,
}

impl Hostgauge {
    /// Where the page is served; `None` where it is not.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The page as text, for a program that serves it itself. Empty after [`attach`](super::Builder::attach).
    pub fn page(&self) -> String {
        let text = self.page.as_ref().map(|page| page.get(Format::Text, Encoding::Identity));
        text.map_or_else(String::new, |text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Whether there are samples, and fresh ones. False for the first interval or so.
    pub fn is_ready(&self) -> bool {
        (self.sampling.readiness())()
    }

    fn help(
        &mut self,
        name: &str,
        stop: impl Any + Send + Sync,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        let thread = thread::Builder::new().name(name.into()).spawn(work).map_err(Error::System)?;
        self.helpers.push(Helper { stop: Box::new(stop), thread });
        Ok(())
    }
}

impl Drop for Hostgauge {
    fn drop(&mut self) {
        for Helper { stop, thread } in self.helpers.drain(..) {
            drop(stop);
            // A helper that panicked has already said so.
            let _ = thread.join();
        }
    }
}
