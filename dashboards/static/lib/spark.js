/** A trend of 200 by 28 px: expected band, limit, line, a dot at the end. */
import { token } from "./dom.js";

/** `series` {t: ns[], v, lo?, hi?} or null ("no history"); `about` may carry normal_low, normal_high, limit. */
export function sparkline(canvas, series, about, state, [from, to] = [0, 1]) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  const colour = (name) => token(canvas.parentElement, name);
  if (!series?.t?.length) {
    ctx.fillStyle = colour("ink3");
    ctx.font = "11px Inter, sans-serif";
    ctx.fillText(series ? "no samples in this range" : "no history", 0, height / 2 + 4);
    return;
  }
  const lo = series.lo ?? series.v, hi = series.hi ?? series.v;
  const marks = [about.normal_low, about.normal_high, about.limit].filter((x) => Number.isFinite(x));
  const numbers = (list) => list.filter((x) => Number.isFinite(x));
  const low = Math.min(...numbers(lo), ...marks), high = Math.max(...numbers(hi), ...marks), pad = (high - low) * 0.08 || 1;
  const x = (t) => ((t / 1e6 - from) / (to - from)) * (width - 6);
  const y = (v) => height - ((v - low + pad) / (high - low + 2 * pad)) * height;
  if (Number.isFinite(about.normal_low) && Number.isFinite(about.normal_high)) {
    ctx.fillStyle = colour("band");
    ctx.fillRect(0, y(about.normal_high), width - 4, y(about.normal_low) - y(about.normal_high));
  }
  if (Number.isFinite(about.limit)) {
    ctx.strokeStyle = colour(state === "alarm" ? "alarm" : "warn");
    ctx.setLineDash([3, 2]);
    ctx.beginPath();
    ctx.moveTo(0, y(about.limit));
    ctx.lineTo(width - 4, y(about.limit));
    ctx.stroke();
    ctx.setLineDash([]);
  }
  const gap = 4 * ((to - from) / series.t.length) * 1e6;
  ctx.strokeStyle = colour("s1");
  ctx.lineWidth = 1.2;
  ctx.beginPath();
  series.t.forEach((t, i) => {
    if (!Number.isFinite(series.v[i])) return;
    const jump = i === 0 || t - series.t[i - 1] > gap;
    if (jump) ctx.moveTo(x(t), y(series.v[i])); else ctx.lineTo(x(t), y(series.v[i]));
    if (hi[i] > lo[i]) { ctx.moveTo(x(t), y(lo[i])); ctx.lineTo(x(t), y(hi[i])); ctx.moveTo(x(t), y(series.v[i])); }
  });
  ctx.stroke();
  const last = series.t.length - 1;
  ctx.fillStyle = colour("s1");
  ctx.beginPath();
  ctx.arc(x(series.t[last]), y(series.v[last]), 2, 0, 7);
  ctx.fill();
}
