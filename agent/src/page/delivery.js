// What became of the data that were taken, how the collectors are, and everything as a table.

import { LineChart, make, panel, write } from "./charts.js";
import { sync } from "./panels.js";
import { collectorReason, count, droppedReason, key, percent, plain, time } from "./words.js";

const LEDGER = [
  ["Taken", "hostgauge_delivery_taken_total"],
  ["Published", "hostgauge_delivery_published_total"],
  ["Waiting", "hostgauge_delivery_pending"],
];
const DROPPED = "hostgauge_delivery_dropped_total";

/** The ledger of each exporter, drawn by what waits. */
export function delivery(store) {
  const place = make("div");
  const { section, beside } = panel("Delivery", place);
  write(beside, "taken = published + waiting + dropped");
  const ledgers = new Map();

  const create = ({ labels }) => {
    const chart = new LineChart({
      title: `Data that wait for ${labels.exporter}`,
      lines: [{ label: "waiting", accent: "--delivery" }],
      top: (high) => Math.max(Math.ceil(high * 1.1), 10),
      format: plain,
      height: 110,
      quarters: false,
    });
    const facts = make("dl", { className: "facts" });
    const item = make("div", {}, make("h3", {}, labels.exporter), facts, chart.figure);
    return { item, chart, facts, rows: new Map() };
  };

  const fact = ({ facts, rows }, title, series) => {
    const name = key(series);
    if (!rows.has(name)) {
      const value = make("dd", { "data-key": name });
      facts.append(make("div", {}, make("dt", {}, title), value));
      rows.set(name, value);
    }
    write(rows.get(name), plain(series.values.at(-1)));
  };

  const update = () => {
    const all = store.measured(LEDGER[0][1]);
    section.hidden = all.length === 0;
    sync(place, ledgers, all, create, (child, { labels }) => {
      const mine = (name) => store.measured(name).filter((series) => series.labels.exporter === labels.exporter);
      for (const [title, name] of LEDGER) mine(name).forEach((series) => fact(child, title, series));
      mine(DROPPED).forEach((series) => fact(child, `Dropped: ${droppedReason(series.labels.reason)}`, series));
      const waiting = mine(LEDGER[2][1])[0]?.values ?? store.times.map(() => null);
      child.chart.update(store.axis(), [waiting], store.window());
    });
  };
  return { section, update };
}

/** Each collector: whole, or why not, and how often not in the time kept. */
export function health(store) {
  const FAILURE = "hostgauge_collector_failure";
  const list = make("ul", { className: "health" });
  const { section, beside } = panel("Health", list);
  const known = new Map();

  const create = ({ labels }) => {
    const [words, before] = [make("span", { className: "words" }), make("span", { className: "of" })];
    const name = make("span", { className: "name" }, labels.collector);
    return { item: make("li", {}, name, " ", words, " ", before), words, before };
  };

  const update = () => {
    const all = store.measured("hostgauge_collector_success");
    section.hidden = all.length === 0;
    // Beside the ledger, where there is one.
    section.classList.toggle("wide", store.measured(LEDGER[0][1]).length === 0);
    let failing = 0;
    sync(list, known, all, create, ({ item, words, before }, { labels, values }) => {
      const now = values.at(-1);
      const failures = store.all(FAILURE).filter((series) => series.labels.collector === labels.collector);
      const why = failures.find((series) => series.values.at(-1) != null)?.labels.reason;
      if (now !== 1) failing += 1;
      item.dataset.state = now === 1 ? "whole" : "failing";
      const failed = now == null ? "says nothing now" : "failing";
      write(words, now === 1 ? "read in full" : why ? collectorReason(why) : failed);
      const last = values.findLastIndex((value) => value === 0);
      write(before, now === 1 && last >= 0 ? `last failure at ${time(store.times[last])}` : "");
    });
    write(beside, failing ? `${count(failing, "collector")} failing` : "all collectors whole");
  };
  return { section, update };
}

/** Every series in words, while somebody looks. */
export function table(store, details) {
  const body = details.querySelector("tbody");
  const known = new Map();
  const create = (series) => {
    const value = make("td", { "data-key": key(series) });
    const head = make("th", { scope: "row" }, key(series).replace(/^hostgauge_/, ""));
    return { item: make("tr", {}, head, value, make("td", {}, series.unit)), value };
  };
  const update = () => {
    if (!details.open) return;
    const all = store.series.filter((series) => series.values.some((value) => value != null));
    sync(body, known, all, create, ({ value }, series) => {
      const now = series.values.at(-1);
      write(value, now == null ? percent(null) : String(now));
    });
  };
  details.addEventListener("toggle", update);
  return update;
}
