// The page: one store, one connection, and what is drawn from it once for each row.

import { Connection } from "./connection.js";
import { delivery, health, table } from "./delivery.js";
import { gpus } from "./gpus.js";
import { cpu, disk, memory, tiles } from "./panels.js";
import { Store } from "./store.js";
import { time } from "./words.js";

const byId = (id) => document.getElementById(id);
const store = new Store();
const panels = [cpu, memory, disk, gpus, delivery, health].map((make) => make(store));
byId("panels").append(...panels.map(({ section }) => section));
const updates = [tiles(store, byId("tiles")), ...panels.map(({ update }) => update), table(store, byId("values"))];

const state = byId("state");
let way = "waiting";
let newest = performance.now();
let asked = 0;

function draw() {
  asked = 0;
  updates.forEach((update) => update());
  // When what is shown was sampled, in milliseconds: for whoever compares it with another source.
  document.body.dataset.row = String(Math.round((store.times.at(-1) ?? 0) * 1000));
}

function changed() {
  newest = performance.now();
  say();
  asked ||= requestAnimationFrame(draw);
}

const WAYS = {
  waiting: () => "waiting for the agent",
  live: () => "live",
  polling: () => "live, every few seconds",
  broken: () => "no connection to the agent; trying again",
  silent: () => `no samples since ${time(store.times.at(-1) ?? Date.now() / 1000)}`,
  off: () => "no history is kept",
};

/** Says how things are, once for each change. */
function say() {
  const patience = 1000 * (store.longest() + 2 * store.interval);
  const now = (way === "live" || way === "polling") && performance.now() - newest > patience ? "silent" : way;
  if (state.dataset.state === now) return;
  state.dataset.state = now;
  state.textContent = WAYS[now]();
}

const connection = new Connection(store, {
  changed,
  state(name) {
    way = name;
    say();
  },
  off() {
    way = "off";
    say();
    byId("values").hidden = true;
    byId("notice").hidden = false;
    byId("notice").textContent = "This agent keeps no history (history = off). Its figures are at /metrics.";
  },
});
setInterval(say, 1000);
connection.open();
