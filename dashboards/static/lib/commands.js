/** Commands and their life: requested, authorised, dispatched, acknowledged, effect; or refused, failed, timed out. */
import { get } from "./api.js";
import { checkName } from "./checks.js";
import { clock } from "./clock.js";
import { number, since, title, utc } from "./format.js";
import { shared, short } from "./shared.js";

export const STAGES = ["requested", "authorised", "dispatched", "acknowledged", "effect"];
const ENDS = ["refused", "timed_out", "failed", "effect"];
const OF_ALARMS = new Set(["acknowledge", "shelve", "unshelve"]), BY_DEVICE = "refused by the device";
const WAITS = { requested: "waits for the gate", authorised: "waits for dispatch", dispatched: "waits for the acknowledgement", acknowledged: "acknowledged; waits for the effect" };
const NEXT = {
  schema: "correct what the reason names, then ask again.", deadline: "ask again; if it is refused again, look at the clock of who asks.",
  idempotency: "ask again; the page gives each command an id of its own.", dispatch: "wait until one of its commands has ended, then ask again.",
  second_approval: "nobody can give a second approval yet, so this command cannot be sent.",
};

/** Who asked, as people read it: "person:m.ruiz" -> "m.ruiz", "rule:overheat" -> "rule overheat". */
export const person = (issuer) => String(issuer ?? "").replace(/^person:/, "").replace(":", " ");

const hearers = new Set();
/** Hear every new list of commands before the views do. */
export const onCommands = (fn) => { hearers.add(fn); };

/** `data`: {can, gate, list}; list newest first, as it was at the clock's instant. */
export const commands = shared("commands", async () => {
  const can = await get("features");
  if (!can.commands) return { can, gate: false, list: [] };
  const list = (await get("commands")).map(folded).filter(Boolean);
  for (const fn of hearers) fn(list);
  return { can, gate: true, list: list.sort((a, b) => b.ms - a.ms) };
});

/** A command with `ms` of each stage, its end ("", effect, refused, timed_out, failed), when that was, and how far it came by then;
    null before it was asked. */
export function folded(c) {
  const at = clock.atMs ?? Infinity, ms = {};
  for (const [stage, when] of Object.entries(c.stages ?? {})) if (when / 1e6 <= at) ms[stage] = when / 1e6;
  const asked = Math.min(c.at_ns / 1e6, ...Object.values(ms));
  if (asked > at) return null;
  const end = ENDS.find((e) => e in ms) ?? "", endMs = ms[end] ?? Math.max(asked, ...Object.values(ms));
  const reached = Math.max(0, STAGES.findLastIndex((s) => s in ms && (!end || ms[s] <= endMs)));
  return { ...c, ms: asked, stageMs: ms, reached, end, endMs, ofAlarm: OF_ALARMS.has(c.verb), by: person(c.issuer) };
}

/** State of each of the five marks: done, skipped (no device had to hear of it), late, waiting, refused, warn, pending. */
export const marks = (c) => STAGES.map((stage, i) => {
  if (stage in c.stageMs) return c.end && c.stageMs[stage] > c.endMs ? "late" : "done";
  if (i < c.reached || (c.ofAlarm && c.end === "effect")) return "skipped";
  if (i > c.reached + 1 || c.end === "effect") return "pending";
  if (c.end === "refused" || (c.end === "failed" && c.reason.startsWith(BY_DEVICE))) return "refused";
  return c.end ? "warn" : "waiting";
});

export const seconds = (ms) => (ms < 1 ? "0 ms" : ms < 1000 ? `${number(ms)} ms` : ms < 10_000 ? `${number(ms / 1000, 1)} s` : since(ms));

/** The check that said no, null where none did. */
export const stopped = (c) => (Array.isArray(c.detail) ? c.detail.find((k) => k.passed === false) ?? null : null);
const nameOf = (check) => checkName(check.check).toLowerCase();

/** What came of it, as [tone, strong word, sentence]. */
export function result(c) {
  const reason = c.reason ?? "", took = seconds(c.endMs - c.ms), late = c.late ? `; ${c.late}` : "", no = stopped(c);
  if (c.end === "refused") return ["", "refused", no && no.check !== "schema" ? `${nameOf(no)}, ${no.why}` : no?.why ?? reason];
  if (c.end === "failed") return [reason.startsWith(BY_DEVICE) ? "" : "warn", "failed", reason];
  if (c.end === "timed_out") return ["warn", "timed out", `${reason || "no answer"}${late}`];
  if (c.end === "effect") return ["quiet", "", c.ofAlarm ? `done by the gate ${c.endMs - c.ms < 1 ? "at once" : `after ${took}`}` : `done after ${took}${reason ? `: ${reason}` : ""}`];
  const stage = STAGES[c.reached], from = c.stageMs[stage] ?? c.ms, limit = c.deadline_ns ? c.deadline_ns / 1e6 - from : 0;
  return ["", "", `${reason && stage === "acknowledged" ? `acknowledged: ${reason}; waits for the effect` : WAITS[stage]}, ${seconds(clock.nowMs() - from)}${limit > 0 ? ` of ${number(limit / 1000, limit % 1000 ? 1 : 0)} s` : ""}`];
}

/** Verb and arguments as one line: "set_speed speed_rpm = 3100". */
export function line(c) {
  const { alarm, until_ns } = c.arguments ?? {};
  if (c.ofAlarm) return [c.verb, short(alarm ?? ""), Number.isFinite(until_ns) ? `until ${utc(until_ns / 1e6)}` : ""].filter(Boolean).join(" ");
  return [c.verb, ...Object.entries(c.arguments ?? {}).map(([k, v]) => `${k} = ${typeof v === "object" ? JSON.stringify(v) : v}`)].join(" ");
}

/** Verdict sentence and next step of a command. */
export function verdict(c) {
  const [, strong, said] = result(c), full = (text) => (/[.]$/.test(text) ? text : `${text}.`);
  if (c.end === "refused") {
    const check = stopped(c), why = check ? `Refused by the check “${nameOf(check)}”: ${check.why}` : `Refused${said ? `: ${said}` : ""}`;
    return [`${full(why)} Nothing was sent to the device.`, NEXT[check?.check] ?? (check ? "the gate demands this check and nothing does it yet; see docs/commands.md." : "change what the reason names, then ask again.")];
  }
  if (c.end === "timed_out") return [`${full(title(c.reason || "no answer"))} The device may or may not have acted; its reported state decides.${c.late ? ` ${full(title(c.late))}` : ""}`, "look at the twin before asking again."];
  if (c.end === "failed") return [full(`${title(strong)}: ${said}`), said.startsWith(BY_DEVICE) ? "the device will not act; its reason says why." : "look at the twin: its reported state tells how far it came."];
  if (c.end === "effect" && !c.ofAlarm) return [`${full(`The device says d${said.slice(1)}`)} Its reported state tells whether it is so.`, ""];
  return [full(title(said)), ""];
}
