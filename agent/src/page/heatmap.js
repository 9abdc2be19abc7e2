// A band for each series, one above the other: 192 cores in one picture. How full the colour is says how busy.

import { make } from "./charts.js";

const LEFT = 62; // as wide as the axis of the charts above
const RIGHT = 20; // as their margin
const STEPS = 64;

export class Heatmap {
  constructor({ accent }) {
    this.accent = accent;
    this.canvas = make("canvas", { height: 0 });
    this.place = make("div", { className: "heat", role: "img" }, this.canvas);
    this.pixels = make("canvas");
    this.visible = false;
    this.draw = this.draw.bind(this);
    new IntersectionObserver((entries) => {
      this.visible = entries.some(({ isIntersecting }) => isIntersecting);
      this.draw();
    }).observe(this.place);
    new ResizeObserver(this.draw).observe(this.place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.draw);
  }

  /** Takes rows of {label, values} in percent, the time of each value, and the time that the picture spans. */
  update(rows, times, interval, window) {
    this.data = { rows, times, interval, window };
    this.draw();
  }

  draw() {
    const width = this.place.clientWidth;
    if (!this.data || !this.visible || width <= LEFT + RIGHT || this.data.rows.length === 0) return;
    const { rows } = this.data;
    const band = Math.min(Math.max(Math.floor(480 / rows.length), 3), 22);
    const height = band * rows.length;
    const scale = devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    this.canvas.style.height = `${height}px`;
    this.paint();
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.pixels, LEFT, 0, width - LEFT - RIGHT, height);
    this.names(context, band);
  }

  /** One pixel for each series and interval. What was not sampled stays clear. */
  paint() {
    const { rows, times, interval, window } = this.data;
    const columns = Math.max(Math.round((window[1] - window[0]) / interval) + 1, 1);
    this.pixels.width = columns;
    this.pixels.height = rows.length;
    const context = this.pixels.getContext("2d");
    const image = context.createImageData(columns, rows.length);
    const pixels = new Uint32Array(image.data.buffer);
    const palette = this.palette();
    const places = times.map((time) => Math.round((time - window[0]) / interval));
    rows.forEach(({ values }, row) => {
      values.forEach((value, index) => {
        const place = places[index];
        if (value == null || place < 0 || place >= columns) return;
        pixels[row * columns + place] = palette[Math.min(Math.round((value / 100) * (STEPS - 1)), STEPS - 1)];
      });
    });
    context.putImageData(image, 0, 0);
  }

  palette() {
    const probe = make("canvas", { width: 1, height: 1 }).getContext("2d");
    probe.fillStyle = getComputedStyle(this.place).getPropertyValue(this.accent);
    probe.fillRect(0, 0, 1, 1);
    const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
    const alpha = (step) => Math.round(255 * (0.08 + (0.92 * step) / (STEPS - 1)));
    return Uint32Array.from({ length: STEPS }, (_, step) => (alpha(step) << 24) | (blue << 16) | (green << 8) | red);
  }

  names(context, band) {
    const { rows } = this.data;
    const every = Math.ceil(14 / band);
    context.fillStyle = getComputedStyle(this.place).getPropertyValue("--quiet");
    context.font = "11px system-ui";
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let row = 0; row < rows.length; row += every) {
      const middle = Math.max(row * band + band / 2, 6); // the first one is not cut
      context.fillText(rows[row].label, LEFT - 8, middle, LEFT - 10);
    }
  }
}
