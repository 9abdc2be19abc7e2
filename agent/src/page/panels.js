// CPU, memory, disk, and the tiles above them all.

import { LineChart, make, panel, write } from "./charts.js";
import { Heatmap } from "./heatmap.js";
import { bytes, count, key, percent } from "./words.js";

/** The end of a scale from 0 to 100 * N. Without N: the next hundred. */
const hundreds = (n) => (high) => (n() ? n() * 100 : Math.max(Math.ceil(high / 100) * 100, 100));

/** A sum against N * 100: name of the sum, what N is called. */
export function ofN(store, name, one) {
  const n = store.n(name);
  return n == null ? "" : `of ${n * 100} % (${count(n, one)})`;
}

export function cpu(store) {
  const SUM = "hostgauge_cpu_utilization_percent";
  const chart = new LineChart({
    title: "CPU, sum over cores",
    lines: [{ label: "CPU", accent: "--cpu" }],
    top: hundreds(() => store.n("hostgauge_cpu_cores")),
    format: percent,
  });
  const heat = new Heatmap({ accent: "--cpu" });
  const heading = make("h3", {}, "Each core");
  const list = make("ul", { className: "cores" });
  list.setAttribute("aria-label", "Each core, percent");
  const { section, beside } = panel("CPU", chart.figure, heading, heat.place, list);
  section.classList.add("wide");
  const cells = new Map();

  const cell = (series) => {
    const value = make("span", { className: "value", "data-key": key(series) });
    const item = make("li", {}, make("span", { className: "name" }, series.labels.core), " ", value);
    return { item, value };
  };

  const update = () => {
    const cores = store.measured("hostgauge_cpu_core_utilization_percent");
    section.hidden = cores.length === 0 && store.measured(SUM).length === 0;
    if (section.hidden) return;
    write(beside, `${percent(store.now(SUM))} ${ofN(store, "hostgauge_cpu_cores", "core")}`);
    chart.update(store.axis(), [store.values(SUM)], store.window());
    const rows = cores.map(({ labels, values }) => ({ label: labels.core, values }));
    heat.update(rows, store.times, store.interval, store.window());
    const present = cores.map(({ values }) => values.at(-1)).filter((value) => value != null);
    const busy = present.filter((value) => value >= 90).length;
    heat.place.setAttribute("aria-label", `History of ${count(rows.length, "core")}; ${busy} now at 90 % or more`);
    sync(list, cells, cores, cell, ({ item, value }, series) => {
      const now = series.values.at(-1);
      write(value, now == null ? percent(null) : now.toFixed(1));
      item.style.setProperty("--level", `${now ?? 0}%`);
    });
  };
  return { section, update };
}

/** Keeps the children of `list` in step with `all` series: made once, in order, gone when their series is. */
export function sync(list, known, all, create, update) {
  const names = new Set(all.map(key));
  for (const [name, { item }] of known) {
    if (names.has(name)) continue;
    item.remove();
    known.delete(name);
  }
  all.forEach((series, place) => {
    const name = key(series);
    if (!known.has(name)) known.set(name, create(series));
    const child = known.get(name);
    if (list.children[place] !== child.item) list.insertBefore(child.item, list.children[place] ?? null);
    update(child, series);
  });
}

function share(store, title, name, accent, words) {
  const lines = [{ label: title, accent }];
  const chart = new LineChart({ title, lines, top: () => 100, format: percent });
  const { section, beside } = panel(title, chart.figure);
  const update = () => {
    section.hidden = store.measured(name).length === 0;
    if (section.hidden) return;
    write(beside, `${percent(store.now(name))} ${words()}`);
    chart.update(store.axis(), [store.values(name)], store.window());
  };
  return { section, update };
}

function memoryWords(store) {
  const [used, limit] = ["used", "limit"].map((what) => store.now(`hostgauge_memory_${what}_bytes`));
  return used == null || limit == null ? "" : `(${bytes(used)} of ${bytes(limit)})`;
}

export function memory(store) {
  return share(store, "Memory", "hostgauge_memory_utilization_percent", "--memory", () => memoryWords(store));
}

export function disk(store) {
  return share(store, "Disk", "hostgauge_disk_utilization_percent", "--disk", () => "of the chosen file systems");
}

/** The first look: one tile for each subject that is measured. */
export function tiles(store, place) {
  const all = [
    ["CPU", "cpu", () => ofN(store, "hostgauge_cpu_cores", "core")],
    ["Memory", "memory", () => memoryWords(store).replace(/[()]/g, "")],
    ["Disk", "disk", () => "of 100 %"],
    ["GPU", "gpu", () => ofN(store, "hostgauge_gpus", "GPU")],
    ["GPU memory", "gpu_memory", () => ofN(store, "hostgauge_gpus", "GPU")],
  ].map(([title, what, words]) => {
    const name = `hostgauge_${what}_utilization_percent`;
    const value = make("div", { className: "value", "data-key": name });
    const of = make("div", { className: "of" });
    const accent = `var(--${what.replace("_", "-")})`;
    const texts = [make("dt", {}, title), make("dd", {}, value, of)];
    const tile = make("div", { hidden: true, style: { "--accent": accent } }, ...texts);
    place.append(tile);
    return { tile, name, value, of, words };
  });
  return () => {
    for (const { tile, name, value, of, words } of all) {
      tile.hidden = store.measured(name).length === 0;
      write(value, percent(store.now(name)));
      write(of, words());
    }
  };
}
