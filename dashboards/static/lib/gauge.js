/** Moving indicator: normal range, limits and a pointer on one scale, so a value is read by its place. */
import { h } from "./dom.js";

const finite = (x) => (Number.isFinite(x) ? x : null);

/** Limits of a signal that mean something, lowest first: rules' limits, else none. */
export const limitsOf = (signal) => (signal.limits ?? []).filter((l) => Number.isFinite(l.limit)).sort((a, b) => a.limit - b.limit);

/** [low, high] of the drawn scale: limits or normal range and a fifth more; null where neither is known. */
export function scaleOf(signal) {
  const marks = [signal.normal_low, signal.normal_high, ...limitsOf(signal).map((l) => l.limit)].map(finite).filter((x) => x !== null);
  if (marks.length < 2) { if (finite(signal.low) !== null && finite(signal.high) !== null) marks.push(signal.low, signal.high); else return null; }
  const low = Math.min(...marks), high = Math.max(...marks), pad = (high - low || Math.abs(high) || 1) * 0.2;
  return [low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
}

/** State of a value against its limits and its normal range. */
export function judge(signal, value) {
  if (!Number.isFinite(value)) return "";
  const worst = limitsOf(signal).filter((l) => (l.kind === "below" ? value < l.limit : value > l.limit)).map((l) => l.severity);
  if (worst.includes("alarm")) return "alarm";
  if (worst.length) return "warn";
  const low = finite(signal.normal_low), high = finite(signal.normal_high);
  return (low !== null && value < low) || (high !== null && value > high) ? "warn-ack" : "";
}

/** {root, set(value, state)} */
export function gauge(signal) {
  const scale = scaleOf(signal), root = h("div.tf-gauge", { "aria-hidden": true });
  if (!scale) return { root, set() {} };
  const share = (v) => Math.max(0, Math.min(100, (100 * (v - scale[0])) / (scale[1] - scale[0])));
  const low = finite(signal.normal_low), high = finite(signal.normal_high);
  if (low !== null && high !== null) root.append(h("i.tf-normal", { style: `left:${share(low)}%;width:${share(high) - share(low)}%` }));
  for (const limit of limitsOf(signal)) root.append(h("i.tf-limit", { style: `left:${share(limit.limit)}%` }));
  const arm = h("div.tf-arm", {}, h("i.tf-pointer"));
  root.append(arm);
  return { root, set(value, state) {
    arm.hidden = !Number.isFinite(value);
    if (!arm.hidden) arm.style.transform = `translateX(${share(value).toFixed(2)}%)`;
    if (root.dataset.state !== state) root.dataset.state = state;
  } };
}
