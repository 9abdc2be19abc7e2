//! The options: one table, from which the flag, the environment variable and the key of the file come.
//!
//! To add an option: a row here, a field in [`Values`] (`options/values.rs`).

mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hostgauge_collectors::GpuSumRule;

use crate::builder::INTERVALS;
use crate::identity;
use crate::job_kind::JobKind;
use crate::page::LONGEST_HISTORY;
use crate::period::is_period;

pub(super) use values::{Emf, LogFormat, Spool, Values};

/// One option.
#[derive(Debug)]
pub(super) struct Opt {
    /// The flag without its dashes, and the key of the file.
    pub name: &'static str,
    /// Empty: a switch, which is `true` when it stands alone.
    pub value_name: &'static str,
    /// Empty: none.
    pub default: &'static str,
    /// Whether it takes several values.
    pub many: bool,
    pub help: &'static str,
    /// What a good value is, for the message about a bad one.
    pub expected: &'static str,
    /// Takes a value over; `None` if it is not a good one.
    pub set: fn(&mut Values, &str) -> Option<()>,
}

impl Opt {
    /// The environment variable.
    pub(super) fn variable(&self) -> String {
        format!("HOSTGAUGE_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// What stands between several values in the environment variable: a colon as in PATH, but a scope has one itself.
    pub(super) fn separator(&self) -> char {
        if self.name == "scope" { ',' } else { ':' }
    }
}

pub(super) static OPTIONS: &[Opt] = &[
    Opt {
        name: "interval",
        value_name: "DURATION",
        default: "1s",
        many: false,
        help: "Time between samples, 100ms to 60s",
        expected: "a duration from 100ms to 60s, such as 1s",
        set: |values, text| {
            values.interval = humantime::parse_duration(text).ok().filter(|interval| INTERVALS.contains(interval))?;
            Some(())
        },
    },
    Opt {
        name: "scope",
        value_name: "SCOPE",
        default: "auto",
        many: true,
        help: "Measure CPU, memory and disk of this: host, container, pod, cgroup:PATH, pid:N, tree:N, or auto; give \
               it several times for the sum (in the environment between commas)",
        expected: "auto, host, container, pod, pod:name=PATTERN, pod:command=PATTERN, pod:env=NAME=PATTERN, \
                   pod:busiest, pod:uid=UID, cgroup:PATH (without '.' and '..'), pid:N or tree:N",
        set: |values, text| {
            values.scopes.push(text.parse().ok()?);
            Some(())
        },
    },
    Opt {
        name: "disk-path",
        value_name: "PATH",
        default: "/",
        many: true,
        help: "Measure the file system of this path; give it several times for several",
        expected: "an absolute path",
        set: |values, text| {
            let path = PathBuf::from(text);
            let fits = path.is_absolute() && !text.chars().any(char::is_control);
            if !values.disk_paths.contains(&path) {
                values.disk_paths.push(path);
            }
            fits.then_some(())
        },
    },
    Opt {
        name: "gpus",
        value_name: "GPUS",
        default: "all",
        many: false,
        help: "Measure these GPUs: all, none, or indices and UUIDs such as 0,2",
        expected: "all, none, or indices and UUIDs between commas, such as 0,2 or GPU-... (MIG instances are measured \
                   with their GPU)",
        set: |values, text| {
            values.gpus = text.parse().ok()?;
            Some(())
        },
    },
    Opt {
        name: "gpu-processes",
        value_name: "BY",
        default: "off",
        many: false,
        help: "Show what runs on each GPU: off, container (summed by container) or process (the 64 largest)",
        expected: "off, container or process",
        set: |values, text| {
            values.gpu_processes = text.parse().ok()?;
            Some(())
        },
    },
    Opt {
        name: "nvml-library",
        value_name: "PATH",
        default: "",
        many: false,
        help: "NVIDIA's management library [default: libnvidia-ml.so.1, where the system finds it]",
        expected: "an absolute path",
        set: |values, text| {
            let path = PathBuf::from(text);
            values.nvml_library = Some(path.is_absolute().then_some(path)?);
            Some(())
        },
    },
    Opt {
        name: "gpu-sum",
        value_name: "RULE",
        default: "strict",
        many: false,
        help: "While a GPU has no value, the sums over GPUs are absent (strict), since fewer GPUs look like less \
               load, or of the others (partial)",
        expected: "strict or partial",
        set: |values, text| {
            values.gpu_sum = GpuSumRule::ALL.into_iter().find(|rule| rule.as_str() == text)?;
            Some(())
        },
    },
    Opt {
        name: "prometheus-listen",
        value_name: "ADDRESS",
        default: "127.0.0.1:9871",
        many: false,
        help: "Serve the page here, or 'off'",
        expected: "an address such as 127.0.0.1:9871, [::1]:9871 or :9871 (every IPv4 interface), or off",
        set: |values, text| {
            values.listen = match text {
                "off" => None,
                _ => Some(address(text)?),
            };
            Some(())
        },
    },
    Opt {
        name: "web-config",
        value_name: "FILE",
        default: "",
        many: false,
        help: "TLS, passwords and certificates of clients for the page, in the file that Prometheus' exporters share \
               [default: none]",
        expected: "the path of a file",
        set: |values, text| {
            values.web_config = Some(PathBuf::from(text));
            (!text.is_empty()).then_some(())
        },
    },
    Opt {
        name: "history",
        value_name: "DURATION",
        default: "15m",
        many: false,
        help: "How long the page in the browser looks back, or 'off'",
        expected: "a duration from 1s to 1h, such as 15m, or off",
        set: |values, text| {
            let lengths = Duration::from_secs(1)..=LONGEST_HISTORY;
            values.history = match text {
                "off" => Duration::ZERO,
                _ => humantime::parse_duration(text).ok().filter(|kept| lengths.contains(kept))?,
            };
            Some(())
        },
    },
    Opt {
        name: "host",
        value_name: "HOST",
        default: "",
        many: false,
        help: "The label Host of every series, whole [default: made of what is found: hostgauge whoami]",
        expected: "up to 1024 bytes of text without control characters",
        set: |values, text| {
            values.host = identity::is_valid(text).then(|| text.to_owned());
            values.host.as_ref().map(|_| ())
        },
    },
    Opt {
        name: "job-kind",
        value_name: "KIND",
        default: "",
        many: false,
        help: "training, processing, transform or endpoint: the form of the Host, the namespace and dimensions on CloudWatch [default: what is found, else training]",
        expected: "training, processing, transform or endpoint",
        set: |_, text| JobKind::from_word(text).map(|_| ()),
    },
    Opt {
        name: "job-name",
        value_name: "NAME",
        default: "",
        many: false,
        help: "The job: the first part of the Host JOB/algo-N or JOB/INSTANCE-ID [default: what is found]",
        expected: "up to 1024 bytes of text without control characters",
        set: |_, text| identity::is_valid(text).then_some(()),
    },
    Opt {
        name: "instance-number",
        value_name: "NUMBER",
        default: "",
        many: false,
        help: "Which instance of its job this is, N of algo-N [default: what is found]",
        expected: "a whole number from 1 on",
        set: |_, text| text.parse::<u32>().ok().filter(|number| *number > 0).map(|_| ()),
    },
    Opt {
        name: "instance-id",
        value_name: "ID",
        default: "",
        many: false,
        help: "The id of this instance, for transform jobs and endpoints [default: what is found]",
        expected: "up to 1024 bytes of text without control characters",
        set: |_, text| identity::is_valid(text).then_some(()),
    },
    Opt {
        name: "podinfo",
        value_name: "FOLDER",
        default: "/etc/podinfo",
        many: false,
        help: "Where Kubernetes' downward API is mounted, with the files labels, annotations and name",
        expected: "an absolute path",
        set: |values, text| {
            let path = PathBuf::from(text);
            values.podinfo = path.is_absolute().then_some(path)?;
            Some(())
        },
    },
    Opt {
        name: "endpoint-name",
        value_name: "NAME",
        default: "",
        many: false,
        help: "The endpoint of an endpoint's host: dimension EndpointName",
        expected: "up to 1024 characters of ASCII",
        set: |values, text| keep(&mut values.endpoint_name, text),
    },
    Opt {
        name: "variant-name",
        value_name: "NAME",
        default: "",
        many: false,
        help: "The production variant of an endpoint's host: dimension VariantName",
        expected: "up to 1024 characters of ASCII",
        set: |values, text| keep(&mut values.variant_name, text),
    },
    Opt {
        name: "cloudwatch",
        value_name: "",
        default: "false",
        many: false,
        help: "Publish to CloudWatch. Region, credentials, endpoint and proxy come from AWS's standard variables and files",
        expected: "true or false",
        set: |values, text| switch(&mut values.cloudwatch, text),
    },
    Opt {
        name: "dry-run",
        value_name: "",
        default: "false",
        many: false,
        help: "Print the requests to CloudWatch as JSON, and what they would cost, instead of sending them",
        expected: "true or false",
        set: |values, text| switch(&mut values.dry_run, text),
    },
    Opt {
        name: "cloudwatch-namespace",
        value_name: "NAMESPACE",
        default: "",
        many: false,
        help: "Publish under this namespace [default: /aws/sagemaker/TrainingJobs and so on by job kind; hostgauge/TrainingJobs inside SageMaker]",
        expected: "1 to 255 of the characters A-Z a-z 0-9 . - _ / # : and space, not beginning with AWS/ or a colon",
        set: |values, text| keep(&mut values.namespace, text),
    },
    Opt {
        name: "cloudwatch-period",
        value_name: "DURATION",
        default: "60s",
        many: false,
        help: "One datum of each series for each of these, 10s to 5m; from 1s with high resolution",
        expected: "a duration from 1s to 5m that divides a minute or is whole minutes, such as 10s, 60s or 5m",
        set: |values, text| {
            values.period = humantime::parse_duration(text).ok().filter(|period| is_period(*period))?;
            Some(())
        },
    },
    Opt {
        name: "cloudwatch-resolution",
        value_name: "SECONDS",
        default: "60",
        many: false,
        help: "How finely CloudWatch keeps them: 60, or 1 (for 3 hours)",
        expected: "1 or 60",
        set: |values, text| {
            values.high_resolution = match text {
                "1" => true,
                "60" => false,
                _ => return None,
            };
            Some(())
        },
    },
    Opt {
        name: "cloudwatch-statistics",
        value_name: "FORM",
        default: "distribution",
        many: false,
        help: "distribution: every sample counts, percentiles work; average: one plain value, SampleCount counts hosts",
        expected: "distribution or average",
        set: |values, text| {
            values.average = match text {
                "average" => true,
                "distribution" => false,
                _ => return None,
            };
            Some(())
        },
    },
    Opt {
        name: "cloudwatch-per-device",
        value_name: "",
        default: "false",
        many: false,
        help: "Publish each device's series, too, with the dimension AcceleratorId; each is billed",
        expected: "true or false",
        set: |values, text| switch(&mut values.per_device, text),
    },
    Opt {
        name: "cloudwatch-metric",
        value_name: "METRIC",
        default: "",
        many: true,
        help: "Publish this metric, too, by its name in the catalogue or in the program; each series is billed",
        expected: "a metric's name, such as hostgauge_cpu_seconds_total",
        set: |values, text| {
            values.metrics.push(text.to_owned());
            (!text.is_empty() && text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(())
        },
    },
    Opt {
        name: "spool-dir",
        value_name: "FOLDER",
        default: "",
        many: false,
        help: "Where data wait that could not be sent, or 'off' [default: hostgauge/spool where the system keeps state]",
        expected: "an absolute path, or off",
        set: |values, text| {
            let path = PathBuf::from(text);
            values.spool_folder = Some(match text {
                "off" => Spool::Off,
                _ => Spool::Folder(path.is_absolute().then_some(path)?),
            });
            Some(())
        },
    },
    Opt {
        name: "spool-max-bytes",
        value_name: "BYTES",
        default: "64MiB",
        many: false,
        help: "The most bytes that wait there; beyond them the oldest are dropped, and counted",
        expected: "a number of bytes from 1MiB on, such as 67108864 or 64MiB",
        set: |values, text| {
            values.spool_max_bytes = bytes(text).filter(|bytes| *bytes >= 1 << 20)?;
            Some(())
        },
    },
    Opt {
        name: "emf",
        value_name: "WHERE",
        default: "",
        many: false,
        help: "Write CloudWatch's embedded metric format: stdout, or append to this file",
        expected: "stdout, or an absolute path",
        set: |values, text| {
            let path = PathBuf::from(text);
            values.emf = Some(match text {
                "stdout" => Emf::Stdout,
                _ => Emf::File(path.is_absolute().then_some(path)?),
            });
            Some(())
        },
    },
    Opt {
        name: "shutdown-timeout",
        value_name: "DURATION",
        default: "20s",
        many: false,
        help: "How long a stop may take to send the last window; a second signal ends it at once",
        expected: "a duration up to 10m, such as 20s",
        set: |values, text| {
            let longest = Duration::from_secs(600);
            values.shutdown_timeout = humantime::parse_duration(text).ok().filter(|timeout| *timeout <= longest)?;
            Some(())
        },
    },
    Opt {
        name: "procfs",
        value_name: "FOLDER",
        default: "/proc",
        many: false,
        help: "Where procfs is mounted",
        expected: "a folder",
        set: |values, text| folder(&mut values.roots.procfs, text),
    },
    Opt {
        name: "sysfs",
        value_name: "FOLDER",
        default: "/sys",
        many: false,
        help: "Where sysfs is mounted",
        expected: "a folder",
        set: |values, text| folder(&mut values.roots.sysfs, text),
    },
    Opt {
        name: "rootfs",
        value_name: "FOLDER",
        default: "/",
        many: false,
        help: "Where the host's root is mounted; disk paths and the files of SageMaker are looked up below it",
        expected: "a folder",
        set: |values, text| folder(&mut values.roots.rootfs, text),
    },
    Opt {
        name: "log-format",
        value_name: "FORMAT",
        default: "text",
        many: false,
        help: "How to log: text or json (RUST_LOG says how much)",
        expected: "text or json",
        set: |values, text| {
            values.log_format = match text {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return None,
            };
            Some(())
        },
    },
];

fn switch(value: &mut bool, text: &str) -> Option<()> {
    *value = text.parse().ok()?;
    Some(())
}

/// A value of a dimension or the like; the exporter knows the rules.
fn keep(value: &mut Option<String>, text: &str) -> Option<()> {
    *value = (!text.trim().is_empty() && text.len() <= 1024 && text.is_ascii()).then(|| text.to_owned());
    value.as_ref().map(|_| ())
}

fn bytes(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let split = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = split.unwrap_or((text, 0));
    number.trim_end().parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn folder(root: &mut PathBuf, text: &str) -> Option<()> {
    *root = PathBuf::from(text);
    // Other systems than Linux have no procfs or sysfs, and need none.
    (root.is_dir() || cfg!(not(target_os = "linux"))).then_some(())
}

/// An address to listen on. Names are not looked up, but for the one that means this machine.
fn address(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix(':') {
        return Some((Ipv4Addr::UNSPECIFIED, port.parse().ok()?).into());
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into());
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests;
