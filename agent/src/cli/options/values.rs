//! What the options amount to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hostgauge_collectors::{GpuProcesses, GpuSelection, GpuSumRule, Roots, Scope};

/// Every option's value. Before the table's defaults are set, it holds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Values {
    pub host: Option<String>,
    pub interval: Duration,
    pub scopes: Vec<Scope>,
    pub disk_paths: Vec<PathBuf>,
    pub gpus: GpuSelection,
    pub gpu_processes: GpuProcesses,
    pub nvml_library: Option<PathBuf>,
    pub gpu_sum: GpuSumRule,
    pub listen: Option<SocketAddr>,
    pub web_config: Option<PathBuf>,
    pub history: Duration,
    pub roots: Roots,
    pub log_format: LogFormat,
    pub shutdown_timeout: Duration,
    pub podinfo: PathBuf,
    pub endpoint_name: Option<String>,
    pub variant_name: Option<String>,
    pub cloudwatch: bool,
    pub namespace: Option<String>,
    pub period: Duration,
    pub high_resolution: bool,
    pub average: bool,
    pub per_device: bool,
    pub metrics: Vec<String>,
    pub dry_run: bool,
    pub spool_folder: Option<Spool>,
    pub spool_max_bytes: u64,
    pub emf: Option<Emf>,
}

/// Where data wait that could not be sent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Spool {
    Off,
    Folder(PathBuf),
}

/// Where lines of the embedded metric format go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Emf {
    Stdout,
    File(PathBuf),
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum LogFormat {
    #[default]
    Text,
    Json,
}
