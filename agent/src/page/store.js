// What the agent keeps, kept here too: one time axis, one list of values for each series, null for a gap.

const natural = new Intl.Collator("en", { numeric: true }).compare;

export class Store {
  constructor() {
    this.generation = null;
    this.times = []; // seconds since the Unix epoch
    this.series = []; // in the agent's order, which events follow
    this.byName = new Map();
    this.interval = 1;
    this.points = 1;
  }

  /** Takes a whole document. */
  load(document) {
    this.generation = document.generation;
    this.interval = document.interval;
    this.points = document.points;
    this.times = document.times.map((time) => time / 1000);
    this.series = document.series;
    this.byName = new Map();
    for (const series of this.series) {
      const all = this.byName.get(series.name) ?? [];
      all.push(series);
      this.byName.set(series.name, all);
    }
    for (const all of this.byName.values()) {
      all.sort((a, b) => natural(Object.values(a.labels).join("\n"), Object.values(b.labels).join("\n")));
    }
  }

  /** Takes one row: a new one, or more of the last. False if it is of other series than are known here. */
  apply({ t, g, v }) {
    if (g !== this.generation || v.length !== this.series.length) return false;
    const time = t / 1000;
    const last = this.times.at(-1) ?? -Infinity;
    if (time < last) return false; // the clock was set back
    if (time === last) {
      this.series.forEach((series, place) => (series.values[series.values.length - 1] = v[place]));
      return true;
    }
    this.times.push(time);
    this.series.forEach((series, place) => series.values.push(v[place]));
    while (this.times.length > this.points) {
      this.times.shift();
      this.series.forEach((series) => series.values.shift());
    }
    return true;
  }

  /** Takes a document of the last rows. False as `apply`. */
  merge(document) {
    if (document.generation !== this.generation) return false;
    const last = this.times.at(-1) ?? -Infinity;
    return document.times.every((t, row) => {
      if (t / 1000 < last) return true;
      return this.apply({ t, g: document.generation, v: document.series.map((series) => series.values[row]) });
    });
  }

  /** The series of a metric, in natural order. */
  all(name) {
    return this.byName.get(name) ?? [];
  }

  /** The series of a metric that had a value in the time kept. */
  measured(name) {
    return this.all(name).filter((series) => series.values.some((value) => value != null));
  }

  /** The newest value of a metric with one series; null if it has none now. */
  now(name) {
    return this.all(name)[0]?.values.at(-1) ?? null;
  }

  /** The values of a metric with one series. */
  values(name) {
    return this.all(name)[0]?.values ?? this.times.map(() => null);
  }

  /** The N of a sum: the last that was known. */
  n(name) {
    return this.all(name)[0]?.values.findLast((value) => value != null) ?? null;
  }

  /** From when to when charts go. */
  window() {
    const newest = this.times.at(-1) ?? 0;
    const span = Math.min(this.points * this.interval, newest - (this.times[0] ?? newest));
    return [newest - Math.max(span, 60 * this.interval), newest];
  }

  /** The longest time between two samples of which the second still speaks for all of it; as the agent has it. */
  longest() {
    return Math.max(3 * this.interval, 1) + this.interval / 2;
  }

  /**
   * The axis for lines: the times, with one more wherever nothing was sampled for too long, and for each its row, or
   * -1. So a line ends before a stall and begins anew after it.
   */
  axis() {
    const [times, rows, longest] = [[], [], this.longest()];
    this.times.forEach((time, row) => {
      const before = this.times[row - 1];
      if (row > 0 && time - before > longest) {
        times.push((time + before) / 2);
        rows.push(-1);
      }
      times.push(time);
      rows.push(row);
    });
    return { times, take: (values) => rows.map((row) => values[row] ?? null) };
  }
}

/** How often a line ends and begins again. */
export function gaps(values) {
  let [number, open, seen] = [0, false, false];
  for (const value of values) {
    if (value != null) {
      if (open) number += 1;
      [open, seen] = [false, true];
    } else if (seen) {
      open = true;
    }
  }
  return number;
}
