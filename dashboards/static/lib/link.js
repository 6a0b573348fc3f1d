/** The one socket of the page. Topics are counted, so two views of one topic cost one subscription. */
const RETRY_MIN_MS = 250, RETRY_MAX_MS = 5000, SILENT_MS = 3000, PROBE_MS = 1500, KEEP_TWINS = 4;
const POINTS = 1 << 14;

/** Points of one signal, oldest first, at most POINTS: two halves are kept and the older half dropped when full. */
class Series {
  constructor() { this.t = new Float64Array(2 * POINTS); this.v = new Float64Array(2 * POINTS); this.n = 0; }
  /** @param {number} t ms UTC  @param {number} v */
  push(t, v) {
    if (this.n && t <= this.t[this.n - 1]) return;
    if (this.n === 2 * POINTS) { this.t.copyWithin(0, POINTS); this.v.copyWithin(0, POINTS); this.n = POINTS; }
    this.t[this.n] = t; this.v[this.n++] = v;
  }
  /** Index of the newest point at or before t, -1 where there is none. */
  at(t) {
    let lo = 0, hi = this.n;
    while (lo < hi) { const mid = (lo + hi) >> 1; if (this.t[mid] <= t) lo = mid + 1; else hi = mid; }
    return lo - 1;
  }
}

const listeners = new Map();  // topic -> Set of callbacks
const snapshots = new Map();  // topic -> last message of a snapshot topic, for a late subscriber
const buffers = new Map();    // twin -> Map(signal -> Series), least recently used first
const stateListeners = new Set();
let socket = null, retryMs = RETRY_MIN_MS, skewMs = 0, retryTimer = 0;

/** `source`: {up, cause, since_ns} of Kafka as the server sees it; `missed`: live rows this page was too slow for.
    `up`: linked; `sinceMs`: when that changed; `heardMs`: last message; `ageMs`: age of the newest live value. */
export const link = {
  up: false, tried: false, source: null, missed: 0, sinceMs: Date.now(), heardMs: 0, ageMs: null,
  /** Live values can come: the server answers, and so does its Kafka. */
  get fed() { return this.up && this.source?.up !== false; },
  onChange(fn) { stateListeners.add(fn); return () => stateListeners.delete(fn); },
};

/** Wall clock of the server, ms. Taken from its messages only when this machine's clock is off by over a second. */
export const serverNow = () => Date.now() - skewMs;

/** Live points of a twin by signal; empty until something subscribed to `twin:<id>`. */
export function buffer(twin) {
  const found = buffers.get(twin) ?? new Map();
  buffers.delete(twin); buffers.set(twin, found);
  if (buffers.size > KEEP_TWINS) buffers.delete(buffers.keys().next().value);
  return found;
}

/** Call `fn(message)` for each message of a topic; a snapshot topic's last message comes at once. */
export function subscribe(topic, fn) {
  if (!listeners.has(topic)) listeners.set(topic, new Set());
  listeners.get(topic).add(fn);
  announce();
  if (snapshots.has(topic)) queueMicrotask(() => fn(snapshots.get(topic)));
  return () => {
    const left = listeners.get(topic);
    left?.delete(fn);
    if (left && !left.size) { listeners.delete(topic); snapshots.delete(topic); announce(); }
  };
}

let announced = false;
function announce() {
  if (announced) return;
  announced = true;
  queueMicrotask(() => {
    announced = false;
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ subscribe: [...listeners.keys()] }));
  });
}

function setUp(up) {
  const changed = link.up !== up || !link.tried;
  link.up = up; link.tried = true;
  if (!changed) return;
  link.sinceMs = Date.now();
  for (const fn of stateListeners) fn(link);
}

function receive(message) {
  const now = Date.now();
  link.heardMs = now;
  setUp(true);
  if (message.t_ns) {
    const off = now - message.t_ns / 1e6;
    skewMs = Math.abs(off) > 1000 ? off : 0;
  }
  const topic = message.topic ?? "";
  if (topic === "dropped") link.missed += message.rows;
  if (topic === "link") {
    link.source = message.data;
    for (const fn of stateListeners) fn(link);
    return;
  }
  if (topic.startsWith("twin:") && message.rows) {
    const points = buffer(topic.slice(5));
    let newest = 0;
    for (const [signal, ns, value] of message.rows) {
      let series = points.get(signal);
      if (!series) points.set(signal, series = new Series());
      series.push(ns / 1e6, value === null ? NaN : value);
      if (ns > newest) newest = ns;
    }
    if (newest) link.ageMs = Math.max(0, serverNow() - newest / 1e6);
  } else if (topic) snapshots.set(topic, message);
  for (const fn of listeners.get(topic) ?? []) fn(message);
}

function connect() {
  clearTimeout(retryTimer);
  socket?.close();
  const mine = socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live`);
  mine.onopen = () => { retryMs = RETRY_MIN_MS; link.heardMs = Date.now(); setUp(true); announce(); };
  mine.onmessage = (event) => { if (mine === socket) receive(JSON.parse(event.data)); };
  mine.onclose = () => { if (mine === socket) lost(); };
}

function lost() {
  socket = null;
  setUp(false);
  clearTimeout(retryTimer);
  retryTimer = setTimeout(connect, retryMs);
  retryMs = Math.min(2 * retryMs, RETRY_MAX_MS);
}

/** A socket can go silent without closing: after SILENT_MS of nothing the server is asked; no answer is no link. */
async function watch() {
  if (!link.up || Date.now() - link.heardMs < SILENT_MS) return;
  const asked = socket;
  try {
    const answer = await fetch("/healthz", { signal: AbortSignal.timeout(PROBE_MS), cache: "no-store" });
    if (answer.status) link.heardMs = Date.now();
  } catch { if (asked && asked === socket) { asked.onclose = null; asked.close(); lost(); } }
}

connect();
setInterval(watch, 1000);
addEventListener("online", () => { if (!link.up) connect(); });
