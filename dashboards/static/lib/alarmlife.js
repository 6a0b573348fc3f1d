/** The life of an alarm, step by step with its times, and where it came from. */
import { h } from "./dom.js";
import { number, since, utc, utcMs } from "./format.js";
import { shape } from "./shapes.js";

/** Rows of a life; `acks`: acknowledging is possible here, `unit` of the value. */
export function life(a, acks, unit) {
  const steps = [[a.raised, "Raised", how(a, unit), a.severity]];
  if (a.count > 1) steps.push([null, "Again and again", `${number(a.count)} times in the hour before`, "pending"]);
  if (a.acked) steps.push([a.acked.ms, "Acknowledged", `by ${a.acked.who}, after ${since(a.acked.ms - a.raised)}`, "passed"]);
  for (const s of [a.wasShelved, a.shelved].filter(Boolean)) steps.push([s.ms, s === a.shelved ? "Shelved" : "Was shelved", `until ${utc(s.untilMs)} by ${s.who}${s.reason ? `: ${s.reason}` : ""}`, "shelved"]);
  if (a.returned) steps.push([a.returned, "Returned to normal", [`after ${since(a.returned - a.raised)}`, a.ending ? a.ending.charAt(0).toLowerCase() + a.ending.slice(1) : ""].filter(Boolean).join(": "), "returned"]);
  const done = steps.filter(([ms]) => ms).sort((x, y) => x[0] - y[0]), flaps = steps.filter(([ms]) => !ms);
  const rows = [done[0], ...flaps, ...done.slice(1)];
  if (acks && !a.acked) rows.push([0, "Acknowledged", "nobody yet", "pending"]);
  if (!a.returned) rows.push([0, "Returned to normal", "not yet", "pending"]);
  return h("ol.tf-life", {}, ...rows.map(([ms, word, text, state]) => h(`li${ms === 0 ? ".tf-todo" : ""}`, {}, shape(state, 12, word),
    h("time.tf-mono", {}, ms ? utcMs(ms) : ms === 0 ? "–" : ""), h("span", {}, h("b", {}, word), ` ${text}`))));
}

function how(a, unit) {
  const with_unit = (value) => [number(value, 2), unit].filter(Boolean).join(" ");
  const found = Number.isFinite(a.score) ? `score ${number(a.score, 2)}${Number.isFinite(a.threshold) ? ` over threshold ${number(a.threshold, 2)}` : ""}`
    : Number.isFinite(a.value) && Number.isFinite(a.threshold) ? `${with_unit(a.value)} ${a.value < a.threshold ? "under" : "over"} the limit ${with_unit(a.threshold)}` : "";
  return [found, a.source ? `by ${a.source_kind} ${a.source}` : ""].filter(Boolean).join(", ");
}

/** Where the samples that raised it lie, null where that is not told. */
export function lineage(a) {
  const l = a.lineage;
  if (!l || typeof l !== "object" || !Object.keys(l).length) return null;
  const rest = Object.entries(l).filter(([k, v]) => k !== "shard" && k !== "offset" && v).map(([k, v]) => `${k} ${v}`);
  return h("p.tf-mono", {}, ["samples", l.shard ? `shard ${l.shard}` : "", Number.isFinite(l.offset) ? `offset ${l.offset}` : "", ...rest].filter(Boolean).join(" · "));
}
