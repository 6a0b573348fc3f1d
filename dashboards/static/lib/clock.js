/** One clock and one route for all pages, both in the URL: ?id=&at=&known=&range=&sel= (defaults are left out). */
import { serverNow } from "./link.js";

const PRESETS = { "1m": 60e3, "5m": 300e3, "1h": 3600e3, "24h": 86400e3, "7d": 7 * 86400e3 };
const DEFAULT = "5m";
const listeners = new Set(), routeListeners = new Set();

/** Range text such as "90m" as ms, or null. */
function spanOf(text) {
  const match = /^(\d{1,6})([smhd])$/.exec(text ?? "");
  return match ? Number(match[1]) * { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 }[match[2]] || null : null;
}

/** `atMs` null = live. `knownMs` null = with everything known now; else only what had arrived by then. */
export const clock = {
  PRESETS, atMs: null, knownMs: null, range: DEFAULT,
  get live() { return this.atMs === null; },
  get spanMs() { return spanOf(this.range); },
  nowMs() { return this.atMs ?? serverNow(); },
  onChange(fn) { listeners.add(fn); return () => listeners.delete(fn); },
  set(change) {
    const before = JSON.stringify([this.atMs, this.knownMs, this.range]);
    Object.assign(this, change);
    if (this.atMs !== null) this.atMs = Math.min(Math.round(this.atMs), Math.round(serverNow()));
    if (this.atMs === null) this.knownMs = null;
    if (!spanOf(this.range)) this.range = DEFAULT;
    if (before === JSON.stringify([this.atMs, this.knownMs, this.range])) return;
    write();
    for (const fn of listeners) fn(this);
  },
  pause() { this.set({ atMs: serverNow() }); },
  resume() { this.set({ atMs: null }); },
  step(ms) { this.set({ atMs: this.nowMs() + ms }); },
};

/** Page ("" is the overview), `id` of the selected twin (kept over page switches) and `sel`, the selected row. */
export const route = {
  page: "", id: null, sel: null,
  onChange(fn) { routeListeners.add(fn); return () => routeListeners.delete(fn); },
  select(sel) { this.sel = sel; write(); for (const fn of routeListeners) fn(this); },
  /** Choose a twin without a rerun; `push`: as a step of the browser's history. */
  twin(id, push = false) {
    if (id === this.id) return;
    if (push) rawPush(history.state, "", location.href);
    this.id = id; write();
    for (const fn of routeListeners) fn(this);
  },
};

/** The page links of the bar in their order: [{page, anchor}]; the start page is "". */
export const pageLinks = () => [...document.querySelectorAll(".st-key-tf_nav a")].map((anchor) =>
  ({ anchor, page: (anchor.getAttribute("href") ?? "").split("?")[0].replace(/^\/|\/$/g, "") }));

/** Whether this installation has such a page. */
export const hasPage = (page) => pageLinks().some((link) => link.page === page);

/** Switch page without a reload by the page's own link. `params`: `id` and `sel` of the new page. */
export function go(page, params = {}) {
  if ("id" in params) route.id = params.id;
  route.sel = params.sel ?? null;
  if (page === route.page) { write(); for (const fn of routeListeners) fn(route); return; }
  const anchor = pageLinks().find((link) => link.page === page)?.anchor;
  if (anchor) anchor.click(); else location.assign(`/${page}${query(page)}`);
}

const pageOf = () => location.pathname.replace(/^\/|\/$/g, "");
const iso = (ms) => new Date(ms).toISOString();

function query(page) {
  const q = new URLSearchParams(location.search);
  const put = (key, value) => (value === null ? q.delete(key) : q.set(key, value));
  put("id", page === "twin" ? route.id : null);
  put("sel", route.sel);
  put("at", clock.atMs === null ? null : iso(clock.atMs));
  put("known", clock.knownMs === null ? null : iso(clock.knownMs));
  put("range", clock.range === DEFAULT ? null : clock.range);
  const text = q.toString().replaceAll("%3A", ":");
  return text ? `?${text}` : "";
}

const rawPush = history.pushState.bind(history), rawReplace = history.replaceState.bind(history);

function write() {
  const url = location.pathname + query(pageOf()) + location.hash;
  if (url !== location.pathname + location.search + location.hash) rawReplace(history.state, "", url);
}

/** Take the state from the URL: at the start, and on Back and Forward. */
function read() {
  const q = new URLSearchParams(location.search);
  const time = (key) => { const ms = Date.parse(q.get(key) ?? ""); return Number.isNaN(ms) ? null : ms; };
  route.page = pageOf();
  route.id = q.get("id") ?? route.id;
  route.sel = q.get("sel");
  clock.set({ atMs: time("at"), knownMs: time("known"), range: q.get("range") ?? DEFAULT });
  write();
  for (const fn of routeListeners) fn(route);
}

/** A page link drops the query; the clock and the twin are put back, and everybody hears of the new page. */
function moved() {
  if (pageOf() !== route.page) { route.page = pageOf(); for (const fn of routeListeners) fn(route); }
  write();
}
history.pushState = (...args) => { rawPush(...args); moved(); };
history.replaceState = (...args) => { rawReplace(...args); moved(); };
addEventListener("popstate", read);
read();
