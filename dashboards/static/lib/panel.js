/** One chart panel: uPlot with a fixed y range, normal band, limits, open alarms and gaps that stay gaps. */
import { token, h, put } from "./dom.js";
import { decimals, number, quantity, spanOf, title, utcMs } from "./format.js";
import { limitsOf, scaleOf } from "./gauge.js";

const TOKENS = ["s1", "band", "line", "ink1", "ink3", "alarm", "alarm-bg", "warn", "warn-bg"];
let loading = null;

/** uPlot itself, loaded when the first chart is shown. */
export function uplot() {
  loading ??= new Promise((done, fail) => {
    const script = h("script", { src: "/tf/vendor/uPlot.iife.min.js" });
    script.onload = () => done(globalThis.uPlot);
    script.onerror = () => { loading = null; fail(new Error("The chart library did not load.")); };
    document.head.append(script);
  });
  return loading;
}

/** Times and values as uPlot wants them: history up to the first live point, then live points of [from, to] ms.
    A bucket of history becomes its lowest and highest value, so peaks stay. */
export function merge(history, live, from, to) {
  const start = live ? Math.max(0, live.at(from)) : 0, end = live ? live.at(to) + 1 : 0;
  const cut = end > start ? live.t[start] : Infinity, past = [];
  for (let i = 0; history && i < history.t.length; i++) {
    const t = history.t[i] / 1e6;
    if (t >= cut || t > to) break;
    if (history.v[i] === null) continue;
    if (history.lo && history.hi[i] > history.lo[i]) past.push([t, history.lo[i]], [t, history.hi[i]]);
    else past.push([t, history.v[i]]);
  }
  const n = past.length + Math.max(0, end - start), x = new Float64Array(n), y = new Float64Array(n);
  past.forEach(([t, v], i) => { x[i] = t / 1000; y[i] = v; });
  for (let i = start; i < end; i++) { x[past.length + i - start] = live.t[i] / 1000; y[past.length + i - start] = live.v[i]; }
  return [x, y];
}

const pick = (host) => Object.fromEntries(TOKENS.map((name) => [name, token(host, name)]));

/** `about`: {alarms(), first, now()}; `last`: the panel that carries the time axis. */
export function panel(U, host, signal, { last, height, alarms, ranked, onZoom }) {
  const unit = quantity(signal)[1], value = h("b.tf-panelvalue"), exact = h("span.tf-note"), span = scaleOf(signal);
  const plot = h("div"), root = h("figure.tf-panel", {}, h("figcaption", {}, h("span", {}, title(signal.name), h("span.tf-unit", {}, unit), span ? null : h("span.tf-note", {}, " auto")),
    h("span.tf-fill"), exact, value), plot);
  host.append(root);
  let colours = pick(host), stepMs = 0;
  const digits = decimals(spanOf(signal)), limits = limitsOf(signal);

  function under(u) {
    const { ctx, bbox } = u, y = (v) => Math.max(bbox.top, Math.min(bbox.top + bbox.height, u.valToPos(v, "y", true)));
    const x = (ms) => Math.max(bbox.left, Math.min(bbox.left + bbox.width, u.valToPos(ms / 1000, "x", true)));
    if (Number.isFinite(signal.normal_low) && Number.isFinite(signal.normal_high)) {
      ctx.fillStyle = colours.band;
      ctx.fillRect(bbox.left, y(signal.normal_high), bbox.width, y(signal.normal_low) - y(signal.normal_high));
    }
    for (const a of ranked ? alarms() : []) {
      const from = x(a.raised_ns / 1e6), to = x((a.returned_ns ?? Infinity) / 1e6);
      ctx.fillStyle = colours[a.severity === "alarm" ? "alarm-bg" : "warn-bg"];
      ctx.globalAlpha = 0.6;
      ctx.fillRect(from, bbox.top, to - from, bbox.height);
      ctx.globalAlpha = 1;
    }
  }

  function over(u) {
    const { ctx, bbox } = u, ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.lineWidth = ratio;
    for (const limit of limits) {
      const y = Math.round(u.valToPos(limit.limit, "y", true)) + 0.5;
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.strokeStyle = colours[limit.severity === "alarm" ? "alarm" : "warn"];
      ctx.setLineDash([5 * ratio, 4 * ratio]);
      ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
    }
    ctx.setLineDash([]);
    for (const a of alarms()) {
      const px = (ms) => u.valToPos(ms / 1000, "x", true), from = px(a.raised_ns / 1e6), to = Math.min(bbox.left + bbox.width, a.returned_ns ? px(a.returned_ns / 1e6) : Infinity);
      if (from > bbox.left + bbox.width || to < bbox.left) continue;
      ctx.fillStyle = ctx.strokeStyle = colours[a.severity === "alarm" ? "alarm" : "warn"];
      const left = Math.max(from, bbox.left);
      ctx.fillRect(left, bbox.top, to - left, 3 * ratio);
      if (from < bbox.left) continue;
      ctx.beginPath(); ctx.moveTo(from, bbox.top); ctx.lineTo(from, bbox.top + bbox.height); ctx.stroke();
      ctx.font = `${11 * ratio}px Inter, sans-serif`;
      ctx.textAlign = "left";
      const text = a.severity === "alarm" ? "alarm raised" : "warning raised";
      if (ranked && from + ctx.measureText(text).width + 10 * ratio < bbox.left + bbox.width) ctx.fillText(text, from + 5 * ratio, bbox.top + bbox.height - 5 * ratio);
    }
    ctx.restore();
  }

  /** A gap is a gap: no line over more than three periods. */
  function gaps(u, index, from, to) {
    const found = [], x = u.data[0], limit = stepMs * 3.2 / 1000;
    if (!(limit > 0)) return found;
    for (let i = Math.max(1, from); i <= to; i++) if (x[i] - x[i - 1] > limit) found.push([u.valToPos(x[i - 1], "x", true), u.valToPos(x[i], "x", true)]);
    return found;
  }

  /** The drawn scale, and a fifth of it more as often as a value needs: a value never leaves the picture. */
  function wide(low, high) {
    const [a, b] = span, step = (b - a) / 5, steps = (x) => Math.max(0, Math.ceil(x / step - 1e-9)) * step;
    return low === null ? span : [a - steps(a - low), b + steps(high - b)];
  }

  const axis = { stroke: () => colours.ink3, font: "11px Inter, sans-serif", ticks: { show: false }, grid: { stroke: () => colours.line, width: 1 } };
  const chart = new U({
    width: 300, height, padding: [0, 12, last ? 0 : 6, 0], legend: { show: false }, tzDate: (s) => U.tzDate(new Date(s * 1000), "Etc/UTC"),
    cursor: { sync: { key: "tf" }, drag: { x: true, y: false, setScale: false }, points: { size: 5 } },
    scales: { x: { time: true, auto: false }, y: span ? { range: (u, low, high) => wide(low, high) } : { range: (u, low, high) => (low === null ? [0, 1] : [low - 0.1 * (high - low || 1), high + 0.1 * (high - low || 1)]) } },
    axes: [{ ...axis, show: true, size: last ? 22 : 0, space: 62, values: (u, splits) => splits.map((s) => (last && u.valToPos(s, "x") < u.width - 72 ? clockText(s, splits) : "")) },
      { ...axis, size: 42, space: 26, values: (u, splits) => splits.map((v) => (v > u.scales.y.max - 0.05 * (u.scales.y.max - u.scales.y.min) ? null : number(v, ticksDigits(splits[1] - splits[0])))) }],
    series: [{}, { stroke: () => colours.s1, width: 1.4, points: { show: false }, gaps }],
    hooks: {
      drawAxes: [under], draw: [over],
      setCursor: [(u) => { const i = u.cursor.idx; put(exact, i === null || i === undefined ? "" : `${number(u.data[1][i], digits)} at ${utcMs(u.data[0][i] * 1000)}`); }],
      setSelect: [(u) => { if (u.select.width > 6) onZoom(u.posToVal(u.select.left, "x") * 1000, u.posToVal(u.select.left + u.select.width, "x") * 1000); u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false); }],
    },
  }, [[], []], plot);
  plot.setAttribute("role", "img");

  return {
    root, signal,
    draw(data, from, to, newest, stale, step) {
      stepMs = step;
      chart.batch(() => { chart.setData(data, false); chart.setScale("x", { min: from / 1000, max: to / 1000 }); });
      put(value, quantity(signal, newest)[0]);
      value.classList.toggle("tf-stale", stale);
    },
    label(text) { if (plot.getAttribute("aria-label") !== text) plot.setAttribute("aria-label", text); },
    size(width) { if (width > 0 && width !== chart.width) chart.setSize({ width, height }); },
    recolour() { colours = pick(host); chart.redraw(false); },
    destroy() { chart.destroy(); root.remove(); },
  };
}

/** Digits that tell the ticks of a step apart: 2.5 -> 1, 0.05 -> 2, 10 -> 0. */
function ticksDigits(step) {
  for (let n = 0; n < 6; n++) { const x = step * 10 ** n; if (Math.abs(x - Math.round(x)) < 1e-6 * x) return n; }
  return step > 0 ? 6 : 0;
}

function clockText(s, splits) {
  const step = splits.length > 1 ? splits[1] - splits[0] : 60, text = new Date(s * 1000).toISOString();
  return step >= 86400 ? text.slice(5, 10) : step >= 3600 ? `${text.slice(11, 13) === "00" ? `${text.slice(5, 10)} ` : ""}${text.slice(11, 16)}` : step < 1 ? text.slice(11, 21) : text.slice(11, 19);
}
