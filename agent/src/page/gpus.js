// GPUs: their sums, and a card for each.

import { LineChart, make, panel, write } from "./charts.js";
import { ofN, sync } from "./panels.js";
import { count, gpuReason, key, percent } from "./words.js";

const SUM = "hostgauge_gpu_utilization_percent";
const MEMORY_SUM = "hostgauge_gpu_memory_utilization_percent";

/** What a card shows: title, metric, and the accent of those that are drawn. */
const FIGURES = [
  ["Busy", "hostgauge_gpu_device_utilization_percent", "--gpu"],
  ["Memory", "hostgauge_gpu_device_memory_utilization_percent", "--gpu-memory"],
  ["SM", "hostgauge_gpu_sm_utilization_percent", null],
  ["Tensor", "hostgauge_gpu_tensor_utilization_percent", null],
];

/** The series of a metric of this GPU. */
const of = (store, name, uuid) => store.all(name).filter(({ labels }) => labels.uuid === uuid);

/** The label `reason` of the one that holds now. */
const reason = (store, name, uuid) => of(store, name, uuid).find(({ values }) => values.at(-1) != null)?.labels.reason;

export function gpus(store) {
  const n = () => store.n("hostgauge_gpus");
  const sums = new LineChart({
    title: "GPUs, sums over all of them",
    lines: [
      { label: "busy", accent: "--gpu" },
      { label: "memory", accent: "--gpu-memory" },
    ],
    top: (high) => (n() ?? Math.max(Math.ceil(high / 100), 1)) * 100,
    format: percent,
  });
  const list = make("ul", { className: "gpus" });
  list.setAttribute("aria-label", "Each GPU");
  const { section, beside } = panel("GPUs", sums.figure, list);
  section.classList.add("wide");
  const cards = new Map();

  const update = () => {
    const all = store.measured("hostgauge_gpu_up");
    section.hidden = all.length === 0;
    if (section.hidden) return;
    const reporting = store.now("hostgauge_gpus_reporting");
    const missing = reporting == null || n() == null ? 0 : n() - reporting;
    const silent = missing > 0 ? `; ${count(missing, "GPU")} without a value` : "";
    write(beside, `${percent(store.now(SUM))} ${ofN(store, "hostgauge_gpus", "GPU")}${silent}`);
    const [axis, window] = [store.axis(), store.window()];
    sums.figure.hidden = store.measured(SUM).length + store.measured(MEMORY_SUM).length === 0;
    sums.update(axis, [store.values(SUM), store.values(MEMORY_SUM)], window);
    sync(list, cards, all, card, (child, series) => refresh(store, child, series, axis, window));
  };
  return { section, update };
}

function card({ labels }) {
  const title = make("h3", { title: labels.uuid }, `GPU ${labels.gpu}`);
  const words = make("p", { className: "reason" });
  const drawn = FIGURES.filter(([, , accent]) => accent).map(([label, , accent]) => ({ label, accent }));
  const chart = new LineChart({
    title: `GPU ${labels.gpu}`,
    lines: drawn,
    top: () => 100,
    format: percent,
    height: 48,
    small: true,
  });
  const figures = FIGURES.map(([label, name, accent]) => {
    const value = make("dd", { "data-key": key({ name, labels }) });
    const style = accent ? { "--accent": `var(${accent})` } : {};
    const row = make("div", {}, make("dt", { className: accent ? "keyed" : "", style }, label), value);
    return { name, value, row };
  });
  const list = make("dl", {}, ...figures.map(({ row }) => row));
  return { item: make("li", {}, title, words, list, chart.figure), words, chart, figures };
}

function refresh(store, { item, words, chart, figures }, { labels, values }, axis, window) {
  const { uuid } = labels;
  const up = values.at(-1);
  const why = reason(store, "hostgauge_gpu_failure", uuid) ?? reason(store, "hostgauge_gpu_utilization_absent", uuid);
  const said = why ? gpuReason(why) : up === 1 ? "" : "the driver says nothing of it now";
  item.dataset.state = up === 1 ? "up" : "failing";
  words.hidden = said === "";
  write(words, said);
  const columns = [];
  for (const { name, value, row } of figures) {
    const series = of(store, name, uuid)[0];
    const measured = series?.values.some((one) => one != null) ?? false;
    row.hidden = !measured;
    write(value, percent(series?.values.at(-1)));
    columns.push(measured ? series.values : store.times.map(() => null));
  }
  chart.figure.hidden = figures.slice(0, 2).every(({ row }) => row.hidden);
  if (!chart.figure.hidden) chart.update(axis, columns.slice(0, 2), window);
}
