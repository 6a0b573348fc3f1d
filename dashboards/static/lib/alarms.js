/** Alarms of the clock's instant: open ones of any age, and those raised or returned in the 24 h before. */
import { get } from "./api.js";
import { clock } from "./clock.js";
import { number, since, utc } from "./format.js";
import { commands } from "./commands.js";
import { onEnd, sent } from "./sent.js";
import { ns, shared } from "./shared.js";

export const DAY_MS = 86_400_000;
const FLAPPING = 5, RANK = { open: 0, returned: 1, acked: 2, shelved: 3, gone: 4 };

/** `data`: alarms with `kind` open, acked, returned (and nobody acknowledged), shelved or gone, worst first. */
export const alarms = shared("alarms", async () => {
  const to = clock.nowMs(), past = clock.live ? null : ns(to);
  const list = await get("alarms", { from_ns: ns(to - DAY_MS), to_ns: past });
  return fold(list.map((a) => asOf(a, clock.live ? Infinity : to)).filter(Boolean));
});

/** The filter of the strip, and rows marked with Shift. */
export const choice = { filter: "open", marked: new Set() };
export function choose(filter) { choice.filter = filter; choice.marked.clear(); alarms.tell(); }

/** Without a command gate nobody can acknowledge: a returned alarm is then simply over. */
export const gate = () => Boolean(commands.data?.gate);

function asOf(a, at) {
  const when = (x) => (x !== null && x !== undefined && x / 1e6 <= at ? x / 1e6 : null);
  const raised = when(a.raised_ns);
  if (raised === null) return null;
  const returned = when(a.returned_ns), acked = when(a.acknowledged?.at_ns), seen = Math.min(at, clock.nowMs());
  const aside = [a.shelved, a.was_shelved].filter((s) => s && s.at_ns / 1e6 <= seen).map((s) => ({ ...s, ms: s.at_ns / 1e6, untilMs: s.until_ns / 1e6 }));
  const shelved = aside.find((s) => s.untilMs > seen) ?? null;
  const kind = shelved ? "shelved" : returned === null ? (acked === null ? "open" : "acked") : acked === null ? "returned" : "gone";
  return { ...a, source_kind: a.kind, ending: a.returned, raised, returned, acked: acked === null ? null : { who: a.acknowledged.who, ms: acked }, shelved, wasShelved: aside.find((s) => s !== shelved) ?? null, kind, older: [] };
}

/** One row for a source that raised again and again: the newest, with those before it as `older`. */
function fold(list) {
  const order = (a, b) => RANK[a.kind] - RANK[b.kind] || (a.priority ?? "").localeCompare(b.priority ?? "") || b.raised - a.raised;
  const heads = new Map(), rows = [];
  for (const a of [...list].sort((x, y) => y.raised - x.raised)) {
    const key = JSON.stringify([a.twin, a.signal, a.source ?? a.detector ?? a.rule]), head = heads.get(key);
    if (head && (a.kind === "returned" || a.kind === "gone")) { head.older.push(a); continue; }
    heads.set(key, head ?? a);
    rows.push(a);
  }
  for (const a of rows) a.count = Math.max(a.count ?? 1, 1 + a.older.filter((o) => a.raised - o.raised < 3_600_000).length);
  return rows.sort(order);
}

/** Which rows a filter shows. */
export function shownBy(filter, list = alarms.data ?? []) {
  const live = (a) => a.kind === "open" || a.kind === "acked" || a.kind === "shelved" || (gate() && a.kind === "returned");
  if (filter === "open") return list.filter(live);
  if (filter === "day") { const from = clock.nowMs() - DAY_MS; return list.filter((a) => a.raised >= from || (a.returned ?? 0) >= from); }
  if (filter === "returned") return list.filter((a) => a.kind === "returned" || (!gate() && a.kind === "gone"));
  return list.filter((a) => a.kind === { unacked: "open", acked: "acked", shelved: "shelved" }[filter]);
}

/** Every alarm behind the rows, those folded too. */
export const every = () => (alarms.data ?? []).flatMap((a) => [a, ...a.older]);

/** Shape of an alarm. */
export const mark = (a) => (a.kind === "shelved" ? "shelved" : a.kind === "returned" || a.kind === "gone" ? "returned" : a.kind === "acked" ? `${a.severity}-ack` : a.severity);

/** State in words, and whether it flaps. */
export function words(a) {
  const times = a.count >= FLAPPING ? `flapping: ${number(a.count)} times in 1 h` : a.count > 1 ? `${number(a.count)}×` : "";
  const said = { open: gate() ? "not acknowledged" : "open", acked: `acknowledged by ${a.acked?.who}, ${utc(a.acked?.ms).slice(-8, -3)}`,
    returned: gate() ? "returned, not acknowledged" : `returned ${since(clock.nowMs() - a.returned)} ago`,
    shelved: `shelved until ${utc(a.shelved?.untilMs).slice(0, -3)} by ${a.shelved?.who}`, gone: `returned ${since(clock.nowMs() - a.returned)} ago` }[a.kind];
  const flaps = a.count >= FLAPPING && (a.kind === "open" || a.kind === "returned");
  return [flaps ? times : [said, times].filter(Boolean).join(" · "), flaps];
}

/** Acknowledge rows: one command for each alarm behind them that nobody has acknowledged. */
export function acknowledge(rows) {
  for (const a of rows.flatMap((row) => [row, ...row.older])) {
    if (!gate() || !clock.live || (a.kind !== "open" && a.kind !== "returned")) continue;
    confirm(a);
  }
}

/** Acknowledge one alarm {id, twin}. */
export const confirm = (a) => sent.send(`acknowledge:${a.id}`, { device: a.twin, verb: "acknowledge", arguments: { alarm: a.id }, reason: "seen on the page" });

/** Put an alarm aside until an instant, for a reason; take it back before. */
export const shelve = (a, untilMs, reason) => sent.send(`shelve:${a.id}`, { device: a.twin, verb: "shelve", arguments: { alarm: a.id, until_ns: ns(untilMs) }, reason });
export const unshelve = (a) => sent.send(`unshelve:${a.id}`, { device: a.twin, verb: "unshelve", arguments: { alarm: a.id }, reason: "ended on the page" });

onEnd((c) => { if (c.ofAlarm) alarms.again(); });
