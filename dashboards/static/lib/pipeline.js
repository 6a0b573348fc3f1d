/** The pipeline as it is now; paused, as it was when it was paused: its past is not kept. */
import { get } from "./api.js";
import { clock } from "./clock.js";
import { serverNow } from "./link.js";
import { number, plural, since } from "./format.js";
import { shared } from "./shared.js";

export const BUSY = 0.85, BLOCKED = 0.25, LATE_MS = 2000;
const TREND_MS = 30_000, FEW = 1000, MOST_STEPS = 8, SHOWN_STEPS = 3;
const trend = [];  // [ms, waiting records]

const taken = (data) => {
  const now = Date.now(), waiting = sum(data.partitions, "lag");
  trend.push([now, waiting]);
  while (trend.length > 1 && now - trend[0][0] > TREND_MS) trend.shift();
  return { ...data, takenMs: serverNow() };
};

/** `data`: the answer of /api/pipeline and `takenMs`. */
export const pipeline = shared("pipeline", async (self) => (!clock.live && self.data ? self.data : taken(await get("pipeline"))),
  (message) => (message.data?.ledger ? taken(message.data) : null));

export const sum = (list, name) => (list ?? []).reduce((all, row) => all + (row[name] ?? 0), 0);

/** Does the number of waiting records grow: at least doubled over the last half minute, and not few. */
export const growing = () => trend.length > 4 && trend.at(-1)[1] > FEW && trend.at(-1)[1] > 2 * trend[0][1];

/** Boxes: what runs, with its steps, busy and blocked share, what waits, and whether it is slow. Pills: topics with records per second. */
export function picture(data) {
  const edges = (data.edges ?? []).map((e) => ({ from: e.from, to: e.to, rate: e.rate ?? null, step: e.step ?? "" })), flows = new Map((data.flows ?? []).map((f) => [f.name, f]));
  const kinds = new Map([...flows.keys()].map((name) => [name, "flow"]));
  for (let before = -1; before !== kinds.size;) {
    before = kinds.size;
    for (const { from, to } of edges) for (const [a, b] of [[from, to], [to, from]]) if (kinds.has(a) && !kinds.has(b)) kinds.set(b, kinds.get(a) === "flow" ? "topic" : "flow");
  }
  const made = new Set(edges.map((e) => e.to)), inputs = (name) => edges.filter((e) => e.to === name);
  const unused = (topic) => kinds.get(topic) === "topic" && !made.has(topic) && !edges.some((e) => e.from === topic && (e.rate > 0 || inputs(e.to).length === 1));
  const kept = edges.filter((e) => !unused(e.from)), sources = [...new Set(kept.map((e) => e.from))].filter((n) => kinds.get(n) === "topic" && !made.has(n));
  const rate = (topic) => Math.max(0, ...kept.filter((e) => e.from === topic || e.to === topic).map((e) => e.rate ?? 0));
  const historyLag = (data.partitions ?? []).some((p) => p.history_lag !== null && p.history_lag !== undefined) ? sum(data.partitions, "history_lag") : null;
  const nodes = [...kinds].filter(([name, kind]) => kind === "flow" || !unused(name)).map(([name, kind]) => (kind === "topic" ? { name, kind, rate: rate(name) } : name === "devices" ? { name: "devices", kind: "sink" } : box(name, flows.get(name), data, historyLag)));
  if (sources.length) nodes.unshift({ name: "Devices", kind: "source" });
  return { nodes, edges: [...sources.map((to) => ({ from: "Devices", to, rate: rate(to) })), ...kept] };
}

function box(name, flow, data, historyLag) {
  const lag = flow?.lag ?? (name === "telemetry" ? sum(data.partitions, "lag") : /history/.test(name) ? historyLag : null);
  const rate = flow?.rows_in ?? Math.max(0, ...(data.edges ?? []).filter((e) => e.to === name).map((e) => e.rate ?? 0));
  const late = flow?.behind_ms ?? null, behind = late === null ? lag !== null && lag > Math.max(FEW, 5 * rate) : late > LATE_MS;
  const state = flow?.state ?? (behind ? "behind" : ""), blocked = flow?.blocked ?? 0;
  const slow = flow?.busy > BUSY || blocked > BLOCKED || behind || state === "stopped" || state === "behind" || (name === "telemetry" && growing());
  return { name, kind: "flow", busy: flow?.busy ?? null, blocked, late, lag, state, steps: steps(flow?.steps ?? []), processes: flow?.processes ?? 0, rows: flow?.rows_in ?? null, slow };
}

/** Those that are drawn: all of them where they are few, else the busiest. */
const steps = (all) => (all.length <= MOST_STEPS ? all : [...all].sort((a, b) => b.busy - a.busy).slice(0, SHOWN_STEPS));

/** What is the matter with a slow box. */
function trouble(n) {
  const wait = n.lag ? `, ${plural(n.lag, "record")} wait${n.lag === 1 ? "s" : ""}` : "";
  if (n.state === "stopped") return `${n.name} is stopped${wait}`;
  if (n.blocked > BLOCKED) return `${n.name} waits for Kafka ${number(n.blocked * 100)} % of the time`;
  const late = n.late > LATE_MS ? `${since(n.late)} behind` : "";
  if (n.busy > BUSY) return `${n.name} is ${number(n.busy * 100)} % busy${late ? ` and ${late}` : wait}`;
  return `${n.name} is ${late || `behind${wait}`}`;
}

/** One sentence: what is slow, and what is not held up by it. */
export function sentence(data, nodes) {
  const slow = nodes.filter((n) => n.slow), fine = nodes.filter((n) => n.kind === "flow" && !n.slow).map((n) => n.name);
  if (!slow.length) return ["", data.flows?.some((f) => f.state === "unknown") ? "Kafka has not told the lag yet" : "nothing waits for long"];
  const waits = (p) => (slow.some((n) => /history/.test(n.name)) ? (p.history_lag_ms ?? p.history_lag) : (p.lag_ms ?? p.lag)) ?? 0;
  const worst = [...(data.partitions ?? [])].sort((a, b) => waits(b) - waits(a))[0], told = worst && waits(worst) > (Number.isFinite(worst.lag_ms) ? LATE_MS : 0);
  return ["warn", `${slow.map(trouble).join("; ")}${told ? `, most on shard ${worst.shard}` : ""}${fine.length ? `; ${fine.join(", ").replace(/, (?=[^,]*$)/, " and ")} ${fine.length === 1 ? "is" : "are"} not held up` : ""}`];
}

/** "18.2 k/s", "40 /s", "0.6 /s" as [digits, unit]. */
export function perSecond(rate) {
  if (!Number.isFinite(rate)) return ["–", ""];
  return rate >= 10_000 ? [number(rate / 1000, 1), "k/s"] : [number(rate, rate >= 10 || rate === 0 ? 0 : rate >= 0.1 ? 1 : 2), "/s"];
}

/** What the paused pipeline says of its instant. */
export function frozen() {
  if (clock.live || !pipeline.data) return "";
  const off = pipeline.data.takenMs - clock.atMs, at = new Date(pipeline.data.takenMs).toISOString().slice(11, 19);
  return Math.abs(off) < 20_000 ? `frozen at ${at}` : `as of ${at}, ${since(Math.abs(off))} ${off > 0 ? "after" : "before"} the chosen instant: the past of the pipeline is not kept`;
}
