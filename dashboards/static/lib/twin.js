/** The selected twin, shared by all views of its page: asked every few seconds, at a past instant asked for that instant. */
import { get } from "./api.js";
import { clock, route } from "./clock.js";
import { buffer, link, serverNow, subscribe } from "./link.js";
import { twinAt } from "./asof.js";
import { staleAfter } from "./format.js";

const REFRESH_MS = 5000, RETRY_MS = 3000, DRAG_MS = 110;
const listeners = new Set();
let drops = [], timer = 0, turn = 0, dropLive = null, soon = 0;

/** `data`: answer of /api/twins/{id} (of that instant when paused), null until it came; `error`: why it did not. */
export const twin = {
  id: null, data: null, live: null, error: null, picked: [],
  /** Hear changes of the state and of the alarms, not of each sample; the present state comes at once. */
  watch(fn) {
    listeners.add(fn);
    if (listeners.size === 1) start();
    if (this.data || this.error) queueMicrotask(() => listeners.has(fn) && fn(this));
    return () => { listeners.delete(fn); if (!listeners.size) stop(); };
  },
  again() { ask(); },
  /** Newest value of a signal at the clock's instant: {value, tMs, stale}. Live points first, then the answer. */
  at(signal) {
    const now = clock.nowMs(), series = this.id === null ? null : buffer(this.id).get(signal.name), i = series ? series.at(now + 1000 * clock.live) : -1;
    const told = signal.ts_ns === null || signal.ts_ns === undefined || (!clock.live && signal.ts_ns / 1e6 > now) ? -Infinity : signal.ts_ns / 1e6;
    const fresh = i >= 0 && clock.knownMs === null && series.t[i] + (clock.live ? 0 : staleAfter(signal.rate_hz)) >= told;
    const tMs = fresh ? series.t[i] : told, value = fresh ? series.v[i] : told === -Infinity ? null : signal.value;
    const late = now - tMs > staleAfter(signal.rate_hz);
    return { value, tMs: Number.isFinite(tMs) ? tMs : null, stale: late || (clock.live && (!link.fed || (!fresh && Boolean(signal.stale)))) };
  },
  /** Signals worth a chart: picked by hand, ranked by the worst alarm, then in order of the definition. */
  charted(count) {
    const all = this.data?.signals ?? [], names = new Set(all.map((s) => s.name));
    const ranked = (this.worst()?.ranked ?? []).map(([name]) => name);
    const first = [...this.picked, ...[this.worst()?.signal].filter(Boolean), ...ranked].filter((name) => names.has(name));
    const order = [...new Set([...first, ...all.map((s) => s.name)])].slice(0, count);
    return order.map((name) => all.find((s) => s.name === name));
  },
  /** Alarms that are open and not put aside; `aside()`: those that are. */
  open() { return this.still().filter((a) => !a.shelved); },
  aside() { return this.still().filter((a) => a.shelved); },
  still() { return (this.data?.alarms ?? []).filter((a) => !a.returned_ns || a.returned_ns / 1e6 > clock.nowMs()); },
  worst() {
    const rank = (a) => (a.severity === "alarm" ? 0 : 2) + (a.acknowledged ? 1 : 0);
    return this.open().sort((a, b) => rank(a) - rank(b) || b.raised_ns - a.raised_ns)[0] ?? null;
  },
  /** Put a signal's chart first. */
  pick(name) { this.picked = [name, ...this.picked.filter((n) => n !== name)].slice(0, 4); tell(); },
};

function tell() { for (const fn of [...listeners]) fn(twin); }

async function ask() {
  clearTimeout(timer);
  const mine = ++turn, at = clock.atMs;
  if (twin.id === null) return;
  try {
    let answer;
    if (at === null) twin.live = answer = await get(`twins/${encodeURIComponent(twin.id)}`);
    else {
      const known = clock.knownMs === null ? null : Math.round(clock.knownMs * 1e6);
      const [live, graph] = await Promise.all([twin.live?.id === twin.id ? twin.live : get(`twins/${encodeURIComponent(twin.id)}`),
        get("asof", { at_ns: Math.round(at * 1e6), known_ns: known, twin: twin.id })]);
      twin.live = live;
      answer = twinAt(live, graph, at);
    }
    if (mine !== turn) return;
    twin.error = null;
    twin.data = answer;
  } catch (error) {
    if (mine !== turn) return;
    twin.error = error;
  }
  tell();
  if (listeners.size && (at === null || twin.error)) timer = setTimeout(ask, twin.error ? RETRY_MS : REFRESH_MS);
}

/** While dragging the time there are at most about ten questions a second; the last one is always asked. */
function later() { if (!soon) soon = setTimeout(() => { soon = 0; ask(); }, DRAG_MS); }

function select() {
  if (route.page !== "twin" || route.id === twin.id) return;
  twin.id = route.id; twin.data = twin.live = null; twin.error = null; twin.picked = [];
  dropLive?.();
  dropLive = twin.id === null ? null : subscribe(`twin:${twin.id}`, () => {});
  tell();
  ask();
}

function start() {
  twin.id = null;
  drops = [clock.onChange(() => { tell(); later(); }), route.onChange(select), link.onChange(() => { tell(); if (link.up) ask(); }),
    subscribe("alarms", () => { if (clock.live && serverNow()) later(); })];
  select();
  if (route.id === null) tell();
}

function stop() {
  for (const drop of [...drops, dropLive]) drop?.();
  dropLive = null;
  clearTimeout(timer);
  turn++;
}
