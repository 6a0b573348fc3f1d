/** The list of twins, shared by all views of a page: asked once, then pushed; at a past instant asked for that instant. */
import { get } from "./api.js";
import { clock } from "./clock.js";
import { fleetAt } from "./asof.js";
import { link, subscribe } from "./link.js";

const RETRY_MS = 5000, REFRESH_MS = 30_000;
const ORDER = { alarm: 0, warn: 1, offline: 2, ok: 3 };
const listeners = new Set();
let drop = null, timer = 0, turn = 0;

/** `twins`: worst first, null until the first answer; `error`: why the last asking failed; `atMs`: when that was. */
export const fleet = {
  twins: null, error: null, atMs: 0, filter: null,
  /** Hear every change; the present list comes at once. The last to leave ends the subscription. */
  watch(fn) {
    listeners.add(fn);
    if (listeners.size === 1) start();
    if (this.twins || this.error) queueMicrotask(() => listeners.has(fn) && fn(this));
    return () => { listeners.delete(fn); if (!listeners.size) stop(); };
  },
  again() { ask(); },
  /** Show only one state in the list; null: what needs attention. */
  choose(state) { this.filter = this.filter === state ? null : state; tell(); },
};

function tell() { for (const fn of [...listeners]) fn(fleet); }

function take(list, atMs) {
  fleet.twins = [...list].sort((a, b) => ORDER[a.state] - ORDER[b.state] || (b.unacked > 0) - (a.unacked > 0)
    || (b.since_ns ?? 0) - (a.since_ns ?? 0) || a.id.localeCompare(b.id));
  fleet.atMs = atMs;
  tell();
}

async function ask() {
  clearTimeout(timer);
  const mine = ++turn, at = clock.atMs;
  try {
    const ask = at === null ? [get("twins")] : [get("twins"), get("asof", { at_ns: Math.round(at * 1e6), known_ns: clock.knownMs && Math.round(clock.knownMs * 1e6) })];
    const [now, graph] = await Promise.all(ask);
    if (mine !== turn) return;
    const list = graph ? fleetAt(now, graph, at) : now;
    fleet.error = null;
    take(list, Date.now());
  } catch (error) {
    if (mine !== turn) return;
    fleet.error = error;
    tell();
  }
  if (listeners.size && (at === null || fleet.error)) timer = setTimeout(ask, fleet.error ? RETRY_MS : REFRESH_MS);
}

let drops = [];
function start() {
  drop = subscribe("overview", (message) => { if (clock.live && Array.isArray(message.data)) take(message.data, Date.now()); });
  drops = [clock.onChange(() => ask()), link.onChange(() => { if (link.up) ask(); })];
  ask();
}

function stop() {
  drop?.();
  for (const end of drops) end();
  clearTimeout(timer);
  turn++;
}
