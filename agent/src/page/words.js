// Values and reasons as people read them.

const DASH = "\u2013";

export function percent(value) {
  return value == null ? DASH : `${value.toFixed(1)} %`;
}

export function bytes(value) {
  if (value == null) return DASH;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(unit && value < 100 ? 1 : 0)} ${units[unit]}`;
}

export function plain(value) {
  return value == null ? DASH : String(value);
}

export function time(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

export function count(number, one, several = `${one}s`) {
  return `${number} ${number === 1 ? one : several}`;
}

/** The key of a series: its name and labels, as Prometheus writes them. */
export function key(series) {
  const labels = Object.entries(series.labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return labels.length ? `${series.name}{${labels.join(",")}}` : series.name;
}

const COLLECTOR = {
  missing: "not there",
  denied: "permission denied",
  malformed: "what it read makes no sense",
  timed_out: "the reading does not come back",
  failed: "the reading failed",
};

const GPU = {
  lost: "fell off the bus",
  reset_required: "needs a reset",
  no_permission: "permission denied",
  blocked: "blocked by the device cgroup",
  not_supported: "not supported by the driver",
  stuck: "does not come back from a call",
  gone: "the driver does not find it any more",
  insufficient_power: "its power cables are not connected",
  irq_issue: "the kernel has an interrupt problem with it",
  corrupted_inforom: "its inforom is corrupted",
  in_use: "in use by something that excludes others",
  not_ready: "not ready yet",
  driver_not_loaded: "the driver is not loaded",
  driver_mismatch: "the driver's library is not the kernel module's",
  failed: "the driver answers with an error",
  mig: "in MIG mode, in which the driver counts no utilization",
};

const DROPPED = {
  invalid_name: "invalid name",
  invalid_dimension: "invalid dimension",
  invalid_value: "invalid value",
  refused: "refused by the service",
  too_old: "too old",
  full: "the spool was full",
  damaged: "the spool was damaged",
  overrun: "faster than they could be stored",
  unwritable: "the output could not be written",
};

// A reason that is newer than this list is shown as it is called.
const words = (list) => (reason) => list[reason] ?? reason.replaceAll("_", " ");
export const collectorReason = words(COLLECTOR);
export const gpuReason = words(GPU);
export const droppedReason = words(DROPPED);
