/** Fields of a command's arguments, made of the JSON Schema of its twin type: limits in the label, the value of now below. */
import { h, put } from "./dom.js";
import { exact, quantity, since, title } from "./format.js";
import { buffer, serverNow } from "./link.js";

const UNITS = { rpm: "rpm", celsius: "degC", mps: "m/s", radps: "rad/s", percent: "%", kw: "kW", bar: "bar", hz: "Hz", secs: "s" };

/** The signal an argument sets: of the same name, with or without its unit at the end. */
function signalOf(name, signals) {
  const bare = name.replace(/_[a-z]+$/, (end) => (end.slice(1) in UNITS ? "" : end));
  return signals.find((s) => s.name === name) ?? signals.find((s) => s.name === bare) ?? null;
}

function limits(p) {
  const low = p.minimum ?? p.exclusiveMinimum, high = p.maximum ?? p.exclusiveMaximum, over = p.minimum === undefined && low !== undefined ? "over " : "", under = p.maximum === undefined && high !== undefined ? "under " : "";
  if (Number.isFinite(low) && Number.isFinite(high)) return `${over}${exact(low)} to ${under}${exact(high)}`;
  if (Number.isFinite(low)) return over ? `over ${exact(low)}` : `at least ${exact(low)}`;
  return Number.isFinite(high) ? (under ? `under ${exact(high)}` : `at most ${exact(high)}`) : "";
}

/** Fields of a schema's properties, with what was given `before`: [{name, root, filled(), read(), tick()}]; `read` throws where
    JSON was asked for and is none. */
export function fields(schema, before, twin) {
  const must = new Set(schema?.required ?? []);
  return Object.entries(schema?.properties ?? {}).map(([name, p]) => field(name, p, { must: must.has(name), before: before?.[name], twin }));
}

function field(name, p, { must, before, twin }) {
  const signal = signalOf(name, twin.signals ?? []), numeric = p.type === "number" || p.type === "integer", list = p.type === "array" || p.type === "object";
  const ending = UNITS[/_([a-z]+)$/.exec(name)?.[1]], unit = signal ? quantity(signal)[1] : ending ? quantity({ unit: ending, value: 0 })[1] : "";
  const words = title(ending ? name.replace(/_[a-z]+$/, "") : name);
  const input = p.enum ? h("select.tf-select", {}, ...p.enum.map((v) => h("option", { value: JSON.stringify(v) }, String(v))))
    : p.type === "boolean" ? h("select.tf-select", {}, h("option", { value: "true" }, "yes"), h("option", { value: "false" }, "no"))
      : h("input.tf-select", { type: numeric ? "number" : "text", step: p.type === "integer" ? 1 : "any", min: p.minimum ?? p.exclusiveMinimum, max: p.maximum ?? p.exclusiveMaximum, required: must,
        placeholder: p.type === "array" ? `[${Array.from({ length: p.minItems ?? 2 }, (_, i) => i).join(", ")}]` : null });
  input.setAttribute("aria-label", words);
  if (before !== undefined) input.value = p.enum || list ? JSON.stringify(before) : String(before);
  const now = h("span.tf-note");
  const label = [words, unit, limits(p), p.type === "array" ? `list of ${p.minItems && p.minItems === p.maxItems ? `${p.minItems} ` : ""}${p.items?.type ?? "value"}s` : "", must ? "" : "may be left out"].filter(Boolean).join(", ");

  /** The newest value: live while it comes, else as it was read. */
  function tick() {
    if (!signal) return;
    const live = buffer(twin.id).get(signal.name), i = live ? live.n - 1 : -1, told = Number.isFinite(signal.value) ? [signal.value, signal.ts_ns / 1e6] : null;
    const [value, ms] = i >= 0 ? [live.v[i], live.t[i]] : told ?? [null, 0];
    if (value === null) { put(now, "No value is known now"); return; }
    const old = Math.max(0, serverNow() - ms);
    put(now, `Now ${quantity(signal, value).join(" ")}, ${old < 1000 ? `${Math.round(old)} ms` : since(old)} old`);
  }
  tick();
  const read = () => (p.enum || p.type === "boolean" ? JSON.parse(input.value) : numeric ? Number(input.value) : list ? JSON.parse(input.value) : input.value);
  return { name, root: h("label", {}, h("span", {}, label), input, signal ? now : null), filled: () => input.value !== "", read, tick };
}
