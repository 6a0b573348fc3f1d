/** Numbers with narrow spaces and U+2212, ages, times in UTC, titles of names. Unknown is "–". */
const UNITS = { degC: "°C", celsius: "°C", degF: "°F", percent: "%", "1": "", "m/s^2": "m/s²", "m^3/h": "m³/h", ohm: "Ω" };

/** Digits after the point that a range of values needs: a thirtieth of `span` is seen. */
export function decimals(span) {
  if (!(span > 0) || !Number.isFinite(span)) return 2;
  return Math.max(0, Math.min(6, Math.ceil(-Math.log10(span / 30))));
}

/** 41203118.4 -> "41 203 118"; minus is U+2212; null and NaN are "–". */
export function number(value, digits = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  const [whole, part] = text.split(".");
  const grouped = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, "\u202f") : whole;
  return (value < 0 && Number(text) !== 0 ? "\u2212" : "") + grouped + (part ? `.${part}` : "");
}

/** A number with the digits it was written with, at most six: 0.1 -> "0.1", 3200 -> "3200". */
export const exact = (value) => number(value, Math.min(6, (String(value).split(".")[1] ?? "").length));

/** Span of a signal that fixes its digits: normal range, else limits, else its own size. */
export function spanOf(signal) {
  const finite = (a, b) => Number.isFinite(a) && Number.isFinite(b) && b > a;
  if (finite(signal.normal_low ?? NaN, signal.normal_high ?? NaN)) return signal.normal_high - signal.normal_low;
  if (finite(signal.low ?? NaN, signal.high ?? NaN)) return (signal.high - signal.low) / 4;
  return Math.abs(signal.value ?? 0) || 1;
}

/** [digits text, unit text] of a signal's value; the signal carries unit and ranges. */
export function quantity(signal, value = signal.value) {
  const unit = UNITS[signal.unit] ?? String(signal.unit ?? "").replace("degC", "°C").replace(/[{}]/g, "");
  if (typeof value === "string") return [value, ""];
  if (typeof value === "boolean") return [value ? "yes" : "no", ""];
  return [number(value, decimals(spanOf(signal))), unit];
}

/** Length of time: "now" below 1 s, then "4 s", "3 min", "3 h 12 min", "6 d 4 h". */
export function age(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms < 1000) return "now";
  return since(ms);
}

export function since(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min`;
  const hours = Math.floor(m / 60);
  if (hours < 24) return m % 60 ? `${hours} h ${String(m % 60).padStart(2, "0")} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

/** When a value of this rate turns stale, ms: three expected periods and 0.35 s; never where it comes when it comes. */
export const staleAfter = (rateHz) => (rateHz > 0 ? 3000 / rateHz + 350 : Infinity);

/** "07:55:08" and "07:55:08.448", UTC. With the date where it is not today's. */
export const utc = (ms) => stamp(ms, 19);
export const utcMs = (ms) => stamp(ms, 23);

function stamp(ms, end) {
  if (!Number.isFinite(ms)) return "–";
  const text = new Date(ms).toISOString();
  const today = new Date().toISOString().slice(0, 10) === text.slice(0, 10);
  return today ? text.slice(11, end) : `${text.slice(0, 10)} ${text.slice(11, end)}`;
}

/** Wire name as words: "motor_body.temp" -> "Motor body temp". */
export function title(name) {
  const words = String(name ?? "").replace(/[_./]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** plural(1, "twin") -> "1 twin"; plural(3, "twin") -> "3 twins". */
export const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;
