/** One list shared by all views of a page: asked when the first comes, when a topic tells of a change, when the clock or link changes. */
import { clock } from "./clock.js";
import { failure, h } from "./dom.js";
import { link, subscribe } from "./link.js";

const REFRESH_MS = 15_000, RETRY_MS = 4000, SETTLE_MS = 250, PUSH_MS = 950;

/** `ask()` gives the data; `take(message)` takes it from a message of `topic`, or null where that only tells of a change.
    The result has `data` (null until it came), `error`, `atMs` of the last answer, `watch(fn) -> drop`, `again()`, `tell()`. */
export function shared(topic, ask, take = () => null) {
  const listeners = new Set();
  let drops = [], timer = 0, turn = 0, due = 0, askedMs = 0, began = 0;
  const self = { data: null, error: null, atMs: 0, watch, again: round, tell, waitedMs: () => Date.now() - began };

  function tell() { for (const fn of [...listeners]) fn(self); }

  function have(data) { self.data = data; self.error = null; self.atMs = Date.now(); tell(); }

  async function round() {
    clearTimeout(timer);
    clearTimeout(due);
    due = 0;
    const mine = ++turn;
    askedMs = Date.now();
    try {
      const data = await ask(self);
      if (mine === turn) have(data);
    } catch (error) { if (mine === turn) { self.error = error; tell(); } }
    if (mine === turn && listeners.size) timer = setTimeout(round, self.error ? RETRY_MS : REFRESH_MS);
  }

  function soon(ms) { if (!due) due = setTimeout(round, ms); }

  function watch(fn) {
    listeners.add(fn);
    if (listeners.size === 1) {
      began = Date.now();
      drops = [clock.onChange(() => soon(SETTLE_MS)), link.onChange(() => (link.up ? round() : tell())), subscribe(topic, (message) => {
        if (!clock.live || document.visibilityState === "hidden") return;
        const data = take(message, self);
        if (data) have(data); else soon(Math.max(SETTLE_MS, PUSH_MS - (Date.now() - askedMs)));
      })];
      round();
    }
    if (self.data || self.error) queueMicrotask(() => listeners.has(fn) && fn(self));
    return () => {
      listeners.delete(fn);
      if (listeners.size) return;
      for (const drop of drops) drop();
      clearTimeout(timer);
      clearTimeout(due);
      due = 0;
      turn++;
    };
  }
  return self;
}

/** The failure of a list as a card above it, rebuilt only when it says something else: {root, draw()}. */
export function problem(of, heading) {
  const root = h("div");
  let said = "";
  return { root, draw() {
    const now = of.error ? `${of.error.what}${of.error.cause}${of.error.next}` : "";
    if (now === said) return;
    said = now;
    root.replaceChildren(...(of.error ? [failure(of.error, () => of.again(), heading)] : []));
    root.className = of.error ? "tf-card tf-gap" : "";
  } };
}

/** Rows of a list that may be stepped through with J and K; `pick(id)` is told. `items()` are the elements, in order. */
export function stepper(items, current, pick) {
  return (step) => {
    const all = items(), at = all.findIndex((item) => item.dataset.key === current());
    const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + step))];
    if (!next) return null;
    pick(next.dataset.key);
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
    return next.dataset.key;
  };
}

/** Save rows as a CSV file. */
export function saveCsv(name, columns, rows) {
  const cell = (value) => `"${String(value ?? "").replaceAll('"', '""').replace(/^([=+\-@\t\r])(?!\d)/, "'$1")}"`;
  const url = URL.createObjectURL(new Blob([`${columns.join()}\n${rows.map((r) => r.map(cell).join()).join("\n")}\n`], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

/** On narrow pages the detail stands below the list: bring it, or the list again, into view. */
export const narrow = () => innerWidth < 900;

/** Ids may be long hashes: their first eight signs, the whole is in the title. */
export const short = (id) => (String(id).length > 12 ? String(id).slice(0, 8) : String(id));
export const ns = (ms) => Math.round(ms * 1e6);
