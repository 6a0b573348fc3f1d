/** The signal of an alarm around the moment it was raised, with its normal range, its limit and the alarm's own interval. */
import { get } from "./api.js";
import { clock } from "./clock.js";
import { h, put } from "./dom.js";
import { quantity, title, utc } from "./format.js";
import { merge, panel, uplot } from "./panel.js";
import { ns } from "./shared.js";

const BEFORE_MS = 90_000, AFTER_MS = 60_000, MOST_MS = 3_600_000, POINTS = 400, FRESH_MS = 10_000;

/** What is shown around an alarm, [from, to] in ms. */
export function around(a) {
  const from = a.raised - BEFORE_MS, end = a.returned ? a.returned + AFTER_MS : clock.nowMs();
  return [from, Math.min(Math.max(end, a.raised + AFTER_MS), from + MOST_MS, clock.nowMs())];
}

/** {root, unit, show(alarm), destroy()}: asks again while the alarm is open and time is live; `known()` when the unit came. */
export function alarmChart(known) {
  const area = h("div.tf-alarmchart"), note = h("p.tf-note"), root = h("div", {}, area, note);
  let chart = null, shown = "", askedMs = 0, turn = 0, definition = null, unitNow = "";

  async function show(a) {
    const name = a.signal || a.ranked?.[0]?.[0], key = `${a.id}|${name}|${clock.atMs}`;
    if (!name) { drop(); put(note, "This alarm is of the whole twin; no one signal shows it."); return; }
    if (key === shown && (a.returned || Date.now() - askedMs < FRESH_MS)) return;
    const fresh = key !== shown, mine = ++turn;
    shown = key;
    askedMs = Date.now();
    if (fresh) { drop(); put(note, "Reading the series…"); }
    const [from, to] = around(a);
    try {
      const [U, state, answer] = await Promise.all([uplot(), fresh || !definition ? get(`twins/${encodeURIComponent(a.twin)}`) : definition,
        get("series", { twin: a.twin, signals: name, from_ns: ns(from), to_ns: ns(to), points: POINTS })]);
      if (mine !== turn || !area.isConnected) return;
      definition = state;
      const series = answer.signals?.[name], signal = about(a, name, state), found = quantity(signal)[1];
      if (found !== unitNow) { unitNow = found; known(); }
      if (!series?.t?.length) { drop(); put(note, `The history holds no ${title(name).toLowerCase()} around ${utc(a.raised)}.`); return; }
      chart ??= panel(U, area, signal, { last: true, height: 132, alarms: () => [a], ranked: true, onZoom: () => {} });
      chart.size(area.clientWidth);
      const period = signal.rate_hz > 0 ? 1000 / signal.rate_hz : 0, step = (to - from) / POINTS, last = series.v.at(-1);
      chart.draw(merge(series, null, from, to), from, to, last, false, series.lo ? Math.max(step, period) : period);
      const [digits, unit] = quantity(signal, last);
      chart.label(`${title(name)} from ${utc(from)} to ${utc(to)} UTC, at its end ${digits} ${unit}`);
      put(note, "");
    } catch (error) {
      if (mine !== turn) return;
      drop();
      put(note, `${error.what ?? error.message} ${error.next ?? ""}`.trim());
    }
  }

  /** The signal as its definition says, with the limit of a rule where the answer carries none. */
  function about(a, name, state) {
    const found = state.signals?.find((s) => s.name === name) ?? { name, unit: "", value: a.value };
    const limit = a.source_kind !== "detector" && Number.isFinite(a.threshold) ? [{ value: a.threshold, kind: a.value < a.threshold ? "below" : "above", severity: a.severity }] : [];
    return { ...found, limits: found.limits?.length ? found.limits : limit };
  }

  function drop() { chart?.destroy(); chart = null; area.replaceChildren(); }
  const resized = new ResizeObserver(() => chart?.size(area.clientWidth));
  resized.observe(area);
  return { root, get unit() { return unitNow; }, show, recolour: () => chart?.recolour(), destroy() { turn++; drop(); resized.disconnect(); } };
}
