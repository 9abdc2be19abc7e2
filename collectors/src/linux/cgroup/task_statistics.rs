//! The answers of an ECS task's metadata endpoint, understood: which containers there are, and their statistics.
//!
//! `/task` names the containers, `/task/stats` has Docker's statistics of each, by its id.
//!
//! Source: Amazon ECS's developer guide, "Task metadata available for tasks"; Docker's Engine API, "Get container
//! stats based on resource usage".

use serde_json::Value;

use crate::error::{CollectError, Reason};
use crate::linux::cgroup::limits::Limit;
use crate::linux::cgroup::reading::{
    CPU_NANOSECONDS, PERIODS, READ_BYTES, Reading, THROTTLED_NANOSECONDS, THROTTLED_PERIODS, WRITTEN_BYTES,
};

/// What a running container of the task has used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statistics {
    pub id: String,
    /// As the task definition calls it.
    pub name: String,
    /// When it was measured, in nanoseconds by the clock of who did.
    pub read: u64,
    pub reading: Reading,
    /// The measurement before: when, and the CPU time in nanoseconds.
    pub before: Option<(u64, u64)>,
    /// What bounds it, and what says so.
    pub limits: Vec<(String, Limit)>,
}

/// The running containers of a task without our own and that of its network; the first that cannot be told is an error.
pub(super) fn interpret(task: &str, statistics: &str, own: &str) -> Result<Vec<Statistics>, CollectError> {
    let (task, statistics) = (object("/task", task)?, object("/task/stats", statistics)?);
    let Some(containers) = task.get("Containers").and_then(Value::as_array) else {
        return Err(malformed("/task: expected a list Containers"));
    };
    let shared = limits_of(&task, "the task");
    let mut all = Vec::new();
    for container in containers {
        let (Some(id), Some(name)) = (text(container, "DockerId"), text(container, "Name")) else {
            return Err(malformed("/task: expected DockerId and Name of each container"));
        };
        let is_network = text(container, "Type") == Some("CNI_PAUSE") || name.starts_with("~internal~");
        // What is still pulled or has stopped uses nothing.
        let runs = matches!(text(container, "KnownStatus"), Some("RUNNING" | "RESOURCES_PROVISIONED"));
        if id == own || is_network || !runs {
            continue;
        }
        let of_it = statistics.get(id).filter(|value| !value.is_null());
        let of_it = of_it.ok_or_else(|| {
            CollectError::new(Reason::Missing, format!("/task/stats: nothing of the container {name}, which runs"))
        })?;
        let mut one = of_container(of_it, name)
            .map_err(|expected| malformed(format!("/task/stats: {name}: expected {expected}")))?;
        one.limits.extend(limits_of(container, name).into_iter().filter(|(_, limit)| matches!(limit, Limit::Bytes(_))));
        one.limits.extend(shared.iter().cloned());
        id.clone_into(&mut one.id);
        all.push(one);
    }
    Ok(all)
}

/// The id of our own container, from the endpoint's own text.
pub(super) fn own_id(container: &str) -> Result<String, CollectError> {
    let container = object("/", container)?;
    text(&container, "DockerId").map(str::to_owned).ok_or_else(|| malformed("/: expected a text DockerId"))
}

fn object(what: &str, text: &str) -> Result<Value, CollectError> {
    // The messages name a place and quote nothing: metadata may hold secrets.
    let value: Value = serde_json::from_str(text).map_err(|error| malformed(format!("{what}: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(malformed(format!("{what}: expected a JSON object"))) }
}

fn malformed(what: impl Into<String>) -> CollectError {
    CollectError::new(Reason::Malformed, what)
}

/// `Limits` of a task (CPUs and MiB) or of a container, whose CPU is a share among the others and no limit.
fn limits_of(object: &Value, whose: &str) -> Vec<(String, Limit)> {
    let limit = |name: &str| object.get("Limits")?.get(name)?.as_f64().filter(|limit| *limit > 0.0);
    let cores = limit("CPU").map(Limit::Cores);
    let memory = limit("Memory").map(|mebibytes| Limit::Bytes((mebibytes * 1048576.0) as u64));
    cores.into_iter().chain(memory).map(|limit| (format!("Limits of {whose} in its metadata"), limit)).collect()
}

fn of_container(value: &Value, name: &str) -> Result<Statistics, &'static str> {
    let read = text(value, "read").and_then(nanoseconds).ok_or("read, a time such as 2026-01-31T12:00:00.5Z")?;
    let number = |path: &str| value.pointer(path).and_then(Value::as_u64);
    let first = |paths: [&str; 2]| paths.into_iter().find_map(number);
    let mut reading = Reading::default();
    let counters = &mut reading.counters;
    let total = number("/cpu_stats/cpu_usage/total_usage").ok_or("cpu_stats.cpu_usage.total_usage, a whole number")?;
    counters[CPU_NANOSECONDS] = Some(total);
    counters[PERIODS] = number("/cpu_stats/throttling_data/periods");
    counters[THROTTLED_PERIODS] = number("/cpu_stats/throttling_data/throttled_periods");
    counters[THROTTLED_NANOSECONDS] = number("/cpu_stats/throttling_data/throttled_time");
    if let Some(transfers) = value.pointer("/blkio_stats/io_service_bytes_recursive").and_then(Value::as_array) {
        let sum = |operation: &str| {
            let is_it = |row: &&Value| text(row, "op").is_some_and(|op| op.eq_ignore_ascii_case(operation));
            let bytes = |row: &Value| row.get("value").and_then(Value::as_u64);
            transfers.iter().filter(is_it).filter_map(bytes).fold(0, u64::saturating_add)
        };
        (counters[READ_BYTES], counters[WRITTEN_BYTES]) = (Some(sum("read")), Some(sum("write")));
    }
    reading.usage = Some(number("/memory_stats/usage").ok_or("memory_stats.usage, a whole number")?);
    // Version 1 has both names, of which the first holds the cgroups below, too; version 2 the second.
    let inactive_file = first(["/memory_stats/stats/total_inactive_file", "/memory_stats/stats/inactive_file"]);
    reading.inactive_file = Some(inactive_file.ok_or("memory_stats.stats.inactive_file, a whole number")?);
    reading.anonymous = first(["/memory_stats/stats/total_rss", "/memory_stats/stats/anon"]);

    // Of a first measurement, the one before has a time long ago and no counter.
    let before = text(value, "preread").and_then(nanoseconds).filter(|before| *before < read);
    let before =
        before.zip(number("/precpu_stats/cpu_usage/total_usage")).filter(|(_, used)| (1..=total).contains(used));
    let cores = number("/cpu_stats/online_cpus").filter(|cores| *cores > 0);
    let cores = cores.map(|cores| ("online_cpus in /task/stats".to_owned(), Limit::Cores(cores as f64)));
    let memory = number("/memory_stats/limit").filter(|bytes| *bytes > 0);
    let memory = memory.map(|bytes| (format!("memory_stats.limit of {name} in /task/stats"), Limit::Bytes(bytes)));
    let limits = cores.into_iter().chain(memory).collect();
    Ok(Statistics { id: String::new(), name: name.to_owned(), read, reading, before, limits })
}

fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

/// Nanoseconds since 1970 of a time as RFC 3339 has it: `2026-01-31T12:00:00.123456789Z`, or with an offset.
fn nanoseconds(time: &str) -> Option<u64> {
    let (date, rest) = time.split_once('T')?;
    let zone = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone);
    let number = |text: &str| text.parse::<i64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let mut parts = date.splitn(3, '-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.splitn(3, ':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let legal = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !legal || hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    let offset = match zone.strip_prefix('Z') {
        Some("") => 0,
        Some(_) => return None,
        None => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let seconds = number(hours)?.checked_mul(3600)?.checked_add(number(minutes)?.checked_mul(60)?)?;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    // Days of the Gregorian calendar, with years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - offset;
    let fraction = number(&format!("{fraction:0<9}"))?;
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?.checked_add(fraction.unsigned_abs())
}

#[cfg(test)]
mod tests;
