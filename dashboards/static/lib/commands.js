/** Commands and their life: requested, authorised, dispatched, acknowledged, effect; or refused, or timed out. */
import { get, post } from "./api.js";
import { clock } from "./clock.js";
import { number, since, title } from "./format.js";
import { shared } from "./shared.js";

export const STAGES = ["requested", "authorised", "dispatched", "acknowledged", "effect"];
const WAITS = { requested: "waits for the gate", authorised: "waits for dispatch", dispatched: "waits for the acknowledgement", acknowledged: "acknowledged; waits for the effect" };

/** `data`: {can, gate, list}; list newest first, as it was at the clock's instant. */
export const commands = shared("commands", async () => {
  const can = await get("features");
  if (!can.commands) return { can, gate: false, list: [] };
  const list = (await get("commands")).map(folded).filter(Boolean);
  follow(list);
  return { can, gate: true, list: list.sort((a, b) => b.ms - a.ms) };
});

/** A command with `ms` of each stage, its end ("", effect, refused, timed_out) and `last`, the furthest stage; null before it was asked. */
export function folded(c) {
  const at = clock.atMs ?? Infinity, ms = {}, from = c.at_ns ?? c.ts_ns;
  const told = c.stages ?? { requested: from, ...(c.stage ? { [c.stage]: from } : {}) };
  for (const [stage, when] of Object.entries(told)) if (when / 1e6 <= at) ms[stage] = when / 1e6;
  const asked = Math.min(from / 1e6, ...Object.values(ms));
  if (asked > at) return null;
  const reached = STAGES.findLastIndex((s) => s in ms), closed = c.open === false && clock.live;
  const end = "refused" in ms ? "refused" : "timed_out" in ms ? "timed_out" : "effect" in ms || closed ? "effect" : "";
  return { ...c, ms: asked, stageMs: ms, reached: Math.max(0, reached), end, endMs: ms[end] ?? Math.max(asked, ...Object.values(ms)) };
}

/** State of each of the five marks. */
export const marks = (c) => STAGES.map((stage, i) => {
  if (i <= c.reached) return "done";
  if (i > c.reached + 1 || c.end === "effect") return "pending";
  return c.end === "refused" ? "refused" : c.end === "timed_out" ? "warn" : "waiting";
});

export const seconds = (ms) => (ms < 10_000 ? `${number(ms / 1000, ms < 1000 ? 2 : 1)} s` : since(ms));

/** What came of it, as [tone, strong word, sentence]. */
export function result(c) {
  const reason = c.reason ?? "";
  if (c.end === "refused") return ["", "refused", reason];
  if (c.end === "timed_out") return ["warn", "timed out", reason || `no ${c.reached >= 3 ? "effect" : "acknowledgement"} in ${seconds(c.endMs - c.ms)}`];
  if (c.end === "effect") return ["quiet", "", "effect" in c.stageMs ? `effect seen after ${seconds(c.endMs - c.ms)}` : `acknowledged after ${seconds(c.endMs - c.ms)}`];
  const since_ms = c.stageMs[STAGES[c.reached]] ?? c.ms, limit = c.timeout_ms ?? c.detail?.timeout_ms;
  return ["", "", `${WAITS[STAGES[c.reached]]}, ${seconds(clock.nowMs() - since_ms)}${limit ? ` of ${number(limit / 1000)} s` : ""}`];
}

/** Verb and arguments as one line: "set_speed speed_rpm = 3100". */
export function line(c) {
  const args = Object.entries(c.arguments ?? {}).map(([k, v]) => `${k} = ${typeof v === "object" ? JSON.stringify(v) : v}`);
  return [c.verb, ...args].join(" ");
}

/** Verdict sentence and next step of a command. */
export function verdict(c) {
  const [, strong, said] = result(c), sent = "dispatched" in c.stageMs;
  if (c.end === "refused") return [`Refused${said ? `: ${said}` : ""}${/[.]$/.test(said) ? "" : "."} ${sent ? "" : "Nothing was sent to the device."}`.trim(), c.next ?? "change what the reason names, then ask again."];
  if (c.end === "timed_out") return [`${title(said)}${/[.]$/.test(said) ? "" : "."} The device may or may not have acted; its reported state decides.`, c.next ?? "look at the twin before asking again."];
  return [`${title(strong || said)}.`, c.next ?? ""];
}

const GIVE_UP_MS = 60_000;
/** Called when a command sent from here has ended. */
export const ended = new Set();

const followed = new Map();  // key -> {id, state: sending|waiting|confirmed|refused|failed, said, sinceMs}
let dropFollow = null, poll = 0;

/** Commands sent from this page, by a key of the asker's choice, followed until they end. */
export const sent = {
  of: (key) => followed.get(key) ?? null,
  get busy() { return [...followed.values()].filter((f) => f.state === "sending" || f.state === "waiting").length; },
  forget(key) { followed.delete(key); commands.tell(); },
  /** POST to the gate; resolves to the id, or null when it was not taken. */
  async send(key, body) {
    if (["sending", "waiting"].includes(followed.get(key)?.state)) return null;
    const entry = { id: null, state: "sending", said: "", sinceMs: Date.now() };
    followed.set(key, entry);
    commands.tell();
    try {
      entry.id = (await post("commands", body)).id;
      entry.state = "waiting";
    } catch (error) { Object.assign(entry, { state: "failed", said: [error.what, error.next].filter(Boolean).join(" ") }); }
    dropFollow ??= commands.watch(() => {});
    clearInterval(poll);
    poll = setInterval(() => { giveUp(); if (sent.busy) commands.again(); else rest(); }, 1000);
    if (entry.id) commands.again();
    commands.tell();
    return entry.id;
  },
};

function rest() { clearInterval(poll); dropFollow?.(); dropFollow = null; }

function giveUp() {
  for (const entry of followed.values()) {
    if (entry.state !== "waiting" || Date.now() - entry.sinceMs < GIVE_UP_MS) continue;
    Object.assign(entry, { state: "failed", said: `The gate says nothing of ${entry.id} after ${GIVE_UP_MS / 1000} s. It may be down; see: twinflow status` });
    commands.tell();
  }
}

function follow(list) {
  for (const entry of followed.values()) {
    const c = entry.state === "waiting" && list.find((found) => found.id === entry.id);
    if (!c || !c.end) continue;
    entry.state = c.end === "effect" ? "confirmed" : "refused";
    entry.said = c.end === "effect" ? "" : verdict(c)[0];
    for (const fn of ended) fn(c);
  }
}
