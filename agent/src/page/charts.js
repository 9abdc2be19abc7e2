// Line charts: uPlot, with what every chart of this page shares.

import { count, time } from "./words.js";
import { gaps } from "./store.js";

/* global uPlot */

const style = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();

/** An element with these properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.entries(value).forEach(([property, to]) => element.style.setProperty(property, to));
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Writes text that may have changed. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What is out of sight is drawn when it comes into it.
const seen = new IntersectionObserver(
  (entries) => entries.forEach(({ target, isIntersecting }) => target.chart.show(isIntersecting)),
  { rootMargin: "100px" },
);
const sized = new ResizeObserver((entries) => entries.forEach(({ target }) => target.chart.resize()));
const charts = new Set();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.renew()));

export class LineChart {
  /**
   * A figure. `lines` are {label, accent (a CSS variable), format}; `top` gives the end of the scale, from its highest
   * value. A `small` one has no axes; one whose scale is not cut in `quarters` has round numbers.
   */
  constructor({ title, lines, top, format, height = 150, small = false, quarters = true }) {
    Object.assign(this, { title, lines, top, format, height, small, quarters });
    this.place = make("div", { className: "plot", style: { height: `${height}px` } });
    this.readout = make("output");
    const keys = lines.length > 1 ? lines.map(({ label, accent }) => key(label, accent)) : [];
    const caption = small ? [] : [make("figcaption", {}, ...keys, this.readout)];
    // An image to a screen reader, with what it shows in words; a chart to the arrow keys.
    this.figure = make("figure", {}, this.place, ...caption);
    this.place.role = "img";
    if (!small) {
      this.place.tabIndex = 0;
      this.place.addEventListener("keydown", (event) => this.step(event));
      this.place.addEventListener("blur", () => this.point(null));
    }
    this.place.chart = this;
    this.visible = false;
    this.data = null;
    charts.add(this);
    seen.observe(this.place);
    sized.observe(this.place);
  }

  /** Takes the axis, a list of values for each line, and the time that the chart spans. */
  update(axis, columns, window) {
    this.data = [axis.times, ...columns.map((values) => axis.take(values))];
    this.window = window;
    this.draw();
  }

  show(visible) {
    this.visible = visible;
    this.draw();
  }

  draw() {
    if (!this.visible || !this.data) return;
    if (this.plot) this.plot.setData(this.data);
    else this.begin();
    this.place.setAttribute("aria-label", this.words());
  }

  words() {
    const lines = this.lines.map(({ label }, place) => {
      const values = this.data[place + 1];
      const known = values.filter((value) => value != null);
      if (known.length === 0) return `${label}: no value`;
      const [low, high] = [Math.min(...known), Math.max(...known)].map(this.format);
      return `${label}: ${low} to ${high}, now ${this.format(values.at(-1))}, ${count(gaps(values), "gap")}`;
    });
    return `${this.title}. ${lines.join("; ")}`;
  }

  begin() {
    const width = this.place.clientWidth;
    if (!width) return;
    const [text, line] = [style(this.place, "--quiet"), style(this.place, "--line")];
    // A sum is read against N * 100, so that stands at the scale's end.
    const quarters = (_, _axis, _low, top) => [0, 1, 2, 3, 4].map((part) => (part * top) / 4);
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const values = (_, splits) => splits.map((value) => this.format(value).replace(".0 ", " "));
    const series = this.lines.map(({ label, accent }) => {
      const colour = style(this.place, accent);
      const fill = this.lines.length === 1 ? `${colour}22` : undefined;
      return { label, stroke: colour, width: 1.5, fill, points: { show: false }, spanGaps: false };
    });
    this.plot = new uPlot(
      {
        width,
        height: this.height,
        padding: this.small ? [3, 0, 3, 0] : [8, 20, 0, 0],
        legend: { show: false },
        cursor: { show: !this.small, y: false, drag: { x: false, y: false } },
        scales: {
          x: { time: true, range: () => this.window },
          y: { range: (_, _low, high) => [0, this.top(high ?? 0) || 1] },
        },
        axes: this.small
          ? [{ show: false }, { show: false }]
          : [
              { ...axis, size: 26, values: (_, splits) => splits.map((at) => time(at).replace(/:00$/, "")) },
              { ...axis, size: 62, splits: this.quarters ? quarters : undefined, values },
            ],
        series: [{}, ...series],
        hooks: { setCursor: [(plot) => this.read(plot.cursor.idx)] },
      },
      this.data,
      this.place,
    );
  }

  resize() {
    const width = this.place.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
    else if (!this.plot) this.draw();
  }

  renew() {
    this.plot?.destroy();
    this.plot = null;
    this.draw();
  }

  read(place) {
    const at = place == null ? null : this.data[0][place];
    const values = this.lines.map((_, line) => this.format(this.data[line + 1][place]));
    write(this.readout, at == null ? "" : `${time(at)}: ${values.join(", ")}`);
  }

  step(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (!step || !this.plot) return;
    event.preventDefault();
    const last = this.data[0].length - 1;
    this.point(Math.min(Math.max((this.plot.cursor.idx ?? last + 1) + step, 0), last));
  }

  point(place) {
    if (!this.plot) return;
    const left = place == null ? -10 : this.plot.valToPos(this.data[0][place], "x");
    this.plot.setCursor({ left, top: 1 });
    this.read(place);
  }
}

/** An entry of a chart's key. */
export function key(label, accent) {
  return make("span", { className: "key", style: { "--accent": `var(${accent})` } }, label);
}

/** A card of the page with a heading and a line beside it. */
export function panel(title, ...content) {
  const id = `panel-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  const beside = make("p");
  const head = make("div", { className: "head" }, make("h2", { id }, title), beside);
  const section = make("section", { className: "panel", hidden: true }, head, ...content);
  section.setAttribute("aria-labelledby", id);
  return { section, beside };
}
