//! Starting hostgauge: in a program, or as the agent.

mod measured;
mod running;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hostgauge_collectors::{Collector, Emitter, GpuProcesses, GpuSelection, GpuStandby, GpuSumRule, Roots, Scope};
#[cfg(feature = "cloudwatch")]
use hostgauge_exporters::emf::{Emf, Target as EmfTarget};
#[cfg(feature = "cli")]
use hostgauge_exporters::prometheus::Guard;
use hostgauge_exporters::prometheus::{PageBuilder, Server, WebConfig};
use metrics::Recorder;

#[cfg(feature = "cloudwatch")]
use crate::cloudwatch::{CloudWatch, Publish};
use crate::delivery::Deliveries;
use crate::error::Error;
use crate::fanout::SharedRecorder;
use crate::identity::{self, Told};
use crate::job_kind::JobKind;
use crate::page;
use crate::pipeline::{Pipeline, Wanted};

pub use running::Hostgauge;
use running::Prepared;

/// Intervals that sampling can keep.
pub const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// Tells whether sampling goes on.
pub(crate) type Liveness = Box<dyn Fn() -> bool + Send + Sync>;

/// Says what to measure and where to show it; then starts it.
///
/// | to | call |
/// | --- | --- |
/// | make hostgauge the program's recorder | [`install`](Self::install) |
/// | combine its recorder with others | [`build`](Self::build) |
/// | keep the recorder that the program has | [`attach`](Self::attach) |
/// | run it inside a tokio program until a future ends | [`run`](Self::run) |
pub struct Builder {
    host: Option<String>,
    told: Option<Told>,
    job_kind: JobKind,
    interval: Duration,
    disk_paths: Vec<PathBuf>,
    gpus: GpuSelection,
    gpu_processes: GpuProcesses,
    nvml_library: Option<PathBuf>,
    gpu_sum: GpuSumRule,
    gpu_standby: GpuStandby,
    listen: Option<SocketAddr>,
    needs_page: bool,
    web_config: Option<WebConfig>,
    scopes: Vec<Scope>,
    history: Duration,
    roots: Roots,
    more: Vec<Box<dyn Collector>>,
    page: PageBuilder,
    shutdown_timeout: Duration,
    #[cfg(feature = "cloudwatch")]
    publish: Publish,
    #[cfg(feature = "cloudwatch")]
    cloudwatch: Option<CloudWatch>,
    #[cfg(feature = "cloudwatch")]
    emf: Option<EmfTarget>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("interval", &self.interval)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::with_page(PageBuilder::default().counters_and_histograms())
    }
}

impl Builder {
    /// CPU, memory, the file system of `/` and all GPUs, each second; no page is served.
    pub fn new() -> Self {
        Self::default()
    }

    /// One in whose process there is no program with counters and histograms of its own. What keeps those is then not
    /// even linked, which is a tenth of what the agent has resident.
    #[cfg(feature = "cli")]
    pub(crate) fn of_the_agent() -> Self {
        Self::with_page(PageBuilder::default())
    }

    fn with_page(page: PageBuilder) -> Self {
        Self {
            host: None,
            told: None,
            job_kind: JobKind::default(),
            interval: Duration::from_secs(1),
            disk_paths: vec!["/".into()],
            gpus: GpuSelection::All,
            gpu_processes: GpuProcesses::Off,
            nvml_library: None,
            gpu_sum: GpuSumRule::default(),
            gpu_standby: GpuStandby::default(),
            listen: None,
            needs_page: true,
            web_config: None,
            scopes: Vec::new(),
            history: Duration::from_secs(15 * 60),
            roots: Roots::default(),
            more: Vec::new(),
            page,
            shutdown_timeout: Duration::from_secs(20),
            #[cfg(feature = "cloudwatch")]
            publish: Publish::default(),
            #[cfg(feature = "cloudwatch")]
            cloudwatch: None,
            #[cfg(feature = "cloudwatch")]
            emf: None,
        }
    }

    /// The label `Host` of every series. Default: the operating system's host name.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// What kind of job this is, which [`publish`](Self::publish) says as well. Default: training. A transform job has
    /// no series `hostgauge_disk_utilization_percent`, as it has no `DiskUtilization`.
    pub fn job_kind(mut self, kind: JobKind) -> Self {
        self.job_kind = kind;
        self
    }

    /// What `hostgauge_identity_info` says of the Host.
    #[cfg(feature = "cli")]
    pub(crate) fn told(mut self, told: Told) -> Self {
        self.told = Some(told);
        self
    }

    /// The time between samples, within [`INTERVALS`]. Default: one second.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The paths whose file systems are measured. Default: `/`. None: no disk series.
    pub fn disk_paths(mut self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.disk_paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// The GPUs that are measured. Default: all that NVIDIA's driver shows. On a machine without them there are no GPU
    /// series, and the driver is looked for every five minutes.
    pub fn gpus(mut self, gpus: GpuSelection) -> Self {
        self.gpus = gpus;
        self
    }

    /// Memory and SM share of what runs on the GPUs, by process or by container. Default: off, since it is up to 128
    /// more series for each GPU. Names and containers are looked up below [`Roots::procfs`].
    pub fn gpu_processes(mut self, processes: GpuProcesses) -> Self {
        self.gpu_processes = processes;
        self
    }

    /// Where NVIDIA's management library is. Default: `libnvidia-ml.so.1` (`nvml.dll`), where the system's loader finds
    /// it. A path that cannot be loaded is a failure of the collector `gpu`, and tried again.
    pub fn nvml_library(mut self, path: impl Into<PathBuf>) -> Self {
        self.nvml_library = Some(path.into());
        self
    }

    /// What the sums over GPUs are while a GPU has no value. Default: absent, since the sum of seven of eight would
    /// look like less load.
    pub fn gpu_sum(mut self, rule: GpuSumRule) -> Self {
        self.gpu_sum = rule;
        self
    }

    /// A switch that makes hostgauge let NVIDIA's driver go while it runs, and take it up again: keep a clone of it.
    pub fn gpu_standby(mut self, switch: GpuStandby) -> Self {
        self.gpu_standby = switch;
        self
    }

    /// Serves the page at this address. Port 0 finds a free one: [`Hostgauge::address`] tells which.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// An address that cannot be had is a warning, and no page is served.
    #[cfg(all(feature = "cli", target_os = "linux"))]
    pub(crate) fn listen_if_possible(mut self) -> Self {
        self.needs_page = false;
        self
    }

    /// TLS, passwords and certificates of clients for the page and everything beside it. Without an address to listen at
    /// it says nothing.
    #[cfg(feature = "web-config")]
    pub fn web_config(mut self, config: WebConfig) -> Self {
        self.web_config = Some(config);
        self
    }

    /// What a client of the page has to go through.
    #[cfg(feature = "cli")]
    pub(crate) fn guard(&self) -> Guard {
        self.web_config.as_ref().map(WebConfig::guard).unwrap_or_default()
    }

    /// What CPU, memory and disk are measured of; called several times, the sum. Default: [`Scope::Auto`], the
    /// container inside a container, else the machine.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scopes.push(scope);
        self
    }

    /// How long the page in the browser looks back, up to an hour. Default: 15 minutes; zero keeps nothing, as where no
    /// page is served. Memory and its bounds: [`history`](hostgauge_exporters::history).
    pub fn history(mut self, kept: Duration) -> Self {
        self.history = kept;
        self
    }

    /// Where the kernel's file systems are mounted.
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// One more collector, beside CPU, memory, disk and GPUs.
    pub fn collector(mut self, collector: impl Collector + 'static) -> Self {
        self.more.push(Box::new(collector));
        self
    }

    /// What is published to CloudWatch or as embedded metric format, under which namespace, how often. Without
    /// [`cloudwatch`](Self::cloudwatch) or [`emf`](Self::emf) it says nothing.
    #[cfg(feature = "cloudwatch")]
    pub fn publish(mut self, publish: Publish) -> Self {
        self.job_kind = publish.job_kind;
        self.publish = publish;
        self
    }

    /// Publishes to CloudWatch, with the region, credentials, endpoint and proxy of AWS's standard variables and files.
    #[cfg(feature = "cloudwatch")]
    pub fn cloudwatch(mut self, cloudwatch: CloudWatch) -> Self {
        self.cloudwatch = Some(cloudwatch);
        self
    }

    /// Writes lines of CloudWatch's embedded metric format: for a host that reaches no AWS service, but whose output
    /// or files somebody carries to CloudWatch Logs.
    #[cfg(feature = "cloudwatch")]
    pub fn emf(mut self, target: EmfTarget) -> Self {
        self.emf = Some(target);
        self
    }

    /// How long a stop may take to send the last window. Default: 20 seconds.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Starts sampling with hostgauge as the facade's global recorder: the program's own metrics stand on the same
    /// page.
    ///
    /// # Errors
    ///
    /// [`Error::Recorder`] if the program already has a global recorder; [`Error::Listen`] if the address cannot be
    /// had; [`Error::Invalid`] for a value out of range, or where CloudWatch can never work: no region, no credentials,
    /// a spool that belongs to another agent. Nothing is left running then.
    pub fn install(self) -> Result<Hostgauge, Error> {
        let (prepared, recorder) = self.prepare()?;
        metrics::set_global_recorder(recorder).map_err(|_| {
            Error::Recorder("the program already has a global recorder: use Builder::build or Builder::attach".into())
        })?;
        prepared.start()
    }

    /// Starts sampling and returns the recorder instead of installing it, for a program that combines several (a
    /// `metrics_util` fan-out, say). Samples reach the returned recorder whether it is installed or not.
    ///
    /// # Errors
    ///
    /// As [`install`](Self::install), but a global recorder is none of its business.
    pub fn build(self) -> Result<(impl Recorder + Clone + Send + Sync + 'static, Hostgauge), Error> {
        let (prepared, recorder) = self.prepare()?;
        Ok((recorder, prepared.start()?))
    }

    /// Starts sampling into the global recorder that the program has installed already, whichever it is. There is no
    /// page, and no windows: what a value looks like outside is that recorder's business. A series that becomes absent
    /// is set to NaN.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for an interval out of range, or an address to listen on, since there is no page to serve.
    pub fn attach(self) -> Result<Hostgauge, Error> {
        self.check()?;
        if let Some(address) = self.listen {
            return Err(Error::Invalid(format!("attach serves no page, so it cannot listen on {address}")));
        }
        let pipeline = Arc::new(Pipeline::to_global_recorder());
        let (interval, patience) = (self.interval, self.shutdown_timeout);
        Prepared { interval, patience, collectors: self.collectors()?, pipeline, server: None }.start()
    }

    /// Runs the agent in the current tokio runtime until `shutdown` is done: samples, and serves the page where one was
    /// asked for. Then it delivers the last window, for up to [`shutdown_timeout`](Self::shutdown_timeout).
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        self.run_announced(|_, _| (), shutdown, std::future::pending()).await
    }

    /// [`run`](Self::run) that tells `started` the page's address and how to learn whether ticks come, once everything
    /// runs, and that leaves what is not delivered in the spool once `hurry` is done.
    pub(crate) async fn run_announced(
        self,
        started: impl FnOnce(Option<SocketAddr>, Liveness),
        shutdown: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let (prepared, _) = self.prepare()?;
        let (sampling, server) = prepared.sample()?;
        let alive = sampling.liveness();
        match server {
            Some((server, site)) => {
                started(Some(server.address().map_err(Error::System)?), alive);
                server.serve(site, shutdown).await.map_err(Error::System)?;
            }
            None => {
                started(None, alive);
                shutdown.await;
            }
        }
        let cut_short = sampling.pipeline.deliveries.hurry();
        let mut stopped = tokio::task::spawn_blocking(move || drop(sampling));
        tokio::select! {
            _ = &mut stopped => (),
            () = hurry => {
                cut_short();
                let _ = stopped.await;
            }
        }
        Ok(())
    }

    /// Everything that can be known to be wrong before anything is tried.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !INTERVALS.contains(&self.interval) {
            return Err(Error::Invalid(format!("interval {:?}: expected 100ms to 60s", self.interval)));
        }
        if self.history > page::LONGEST_HISTORY {
            return Err(Error::Invalid(format!("history {:?}: expected up to 1h", self.history)));
        }
        match &self.host {
            Some(host) if !identity::is_valid(host) => Err(Error::Invalid(format!(
                "host {host:?}: expected up to 1024 bytes of text without control characters"
            ))),
            _ => self.check_publishing(),
        }
    }

    #[cfg(feature = "cloudwatch")]
    fn check_publishing(&self) -> Result<(), Error> {
        if self.cloudwatch.is_none() && self.emf.is_none() {
            return Ok(());
        }
        self.publish.check(self.interval).map_err(Error::Invalid)?;
        self.publish.publication(&self.host_or_default(), &self.roots.rootfs).check().map_err(Error::Invalid)
    }

    #[cfg(not(feature = "cloudwatch"))]
    fn check_publishing(&self) -> Result<(), Error> {
        Ok(())
    }

    fn host_or_default(&self) -> String {
        self.host.clone().or_else(identity::host_name).unwrap_or_else(|| identity::FALLBACK.into())
    }

    /// Everything that can fail, before anything runs.
    fn prepare(mut self) -> Result<(Prepared, SharedRecorder), Error> {
        self.check()?;
        let told = self.told.take().unwrap_or_else(|| identity::by_program(self.host.is_some()));
        let host = self.host_or_default();
        let server = self.listen.map(|address| Server::bind(address).map_err(|error| Error::Listen(address, error)));
        let server = match server.transpose() {
            Err(error) if !self.needs_page => {
                log::warn!("{error}: there is no page");
                None
            }
            server => server?,
        };
        let history = server.as_ref().and_then(|_| page::history(&host, self.interval, self.history));
        let (deliveries, wanted) = self.deliveries(&host)?;
        let page = std::mem::take(&mut self.page);
        let (pipeline, recorder) = Pipeline::new(page, &host, self.interval, deliveries, wanted, history.clone())?;
        let server = server.map(|server| (server.behind(self.web_config.clone()), page::html(&host), history));
        pipeline.with_recorder(|| Emitter::default().emit(&[identity::info(self.job_kind, &told)]));
        let (interval, patience, pipeline) = (self.interval, self.shutdown_timeout, Arc::new(pipeline));
        Ok((Prepared { interval, patience, collectors: self.collectors()?, pipeline, server }, recorder))
    }

    /// The exporters of windows, started.
    #[cfg(feature = "cloudwatch")]
    fn deliveries(&mut self, host: &str) -> Result<(Deliveries, Wanted), Error> {
        let (deliveries, mut wanted) = (Deliveries::default(), Wanted::default());
        if self.cloudwatch.is_none() && self.emf.is_none() {
            return Ok((deliveries, wanted));
        }
        let rootfs = &self.roots.rootfs;
        self.publish.explain(rootfs);
        let (publication, period) = (self.publish.publication(host, rootfs), self.publish.period);
        if let Some(target) = self.emf.take() {
            let emf = Emf::spawn(target, publication.namespace()).map_err(|error| Error::Invalid(error.to_string()))?;
            deliveries.emf(emf, publication.clone(), period);
        }
        if let Some(cloudwatch) = self.cloudwatch.take() {
            deliveries.cloudwatch(cloudwatch.start(publication, period, host)?);
        }
        wanted.metrics = self.publish.listed();
        wanted.periods.push(period);
        Ok((deliveries, wanted))
    }

    #[cfg(not(feature = "cloudwatch"))]
    fn deliveries(&mut self, _: &str) -> Result<(Deliveries, Wanted), Error> {
        Ok((Deliveries::default(), Wanted::default()))
    }
}
