/** Time travel: 24 h of one signal with gaps and alarms; dragging pauses all views at that instant. */
import { clock, everySecond, get, h, paintShape, poll, put, serverNow, since, title, token, twin, utc, utcMs } from "../lib.js";

const DAY = 86400e3, POINTS = 288, TOKENS = ["sunken", "s2", "ink1", "ink2", "ink3", "line2", "alarm", "warn", "warn-fill", "on-alarm", "surface"];

export default function scrub(host) {
  const canvas = h("canvas"), handle = h("i.tf-handle"), note = h("span.tf-note.tf-clip", { title: "Drag, or ← →; with Shift the range" }, "24 h · drag or ← →");
  const strip = h("div.tf-strip", { role: "slider", tabindex: 0, "aria-label": "Time of all views", "aria-valuemin": 0, "aria-valuemax": 1440 }, canvas, handle);
  const known = h("select.tf-select", { "aria-label": "Known at" }, h("option", { value: "now" }, "now"), h("option", { value: "then" }, "that instant"));
  const live = h("button.tf-button", { type: "button", onclick: () => clock.resume() }, "Live ", h("kbd", {}, "L")), past = h("div.tf-pasttools", {}, h("label", {}, "Known at ", known), live), hint = h("span.tf-note", {}, "Drag, or ← → to look back");
  host.append(h("section.tf-card.tf-scrub", { "aria-label": "Time travel" }, h("div.tf-scrubname", {}, h("h2", {}, "Time travel"), note), strip, h("div.tf-scrubtools", {}, hint, past)));
  let end = 0, series = null, alarms = [], signal = null, colours = {}, drag = null;

  known.addEventListener("change", () => clock.set({ knownMs: known.value === "then" ? clock.atMs : null }));

  const window_ = () => { const now = serverNow(); end = clock.live || clock.atMs > now - DAY ? now : Math.min(now, clock.atMs + DAY / 4); };

  async function read() {
    window_();
    const id = twin.id, about = twin.charted(1)[0], from_ns = Math.round((end - DAY) * 1e6), to_ns = Math.round(end * 1e6);
    if (id === null || !about) return null;
    const [s, a] = await Promise.allSettled([get("series", { twin: id, signals: about.name, from_ns, to_ns, points: POINTS }), get("alarms", { from_ns, to_ns })]);
    return { id, about, series: s.value?.signals?.[about.name] ?? null, failed: s.status === "rejected", alarms: (a.value ?? []).filter((x) => x.twin === id), end };
  }

  function paint() {
    const width = strip.clientWidth, height = 40, ratio = devicePixelRatio || 1;
    if (!width) return;
    canvas.width = width * ratio; canvas.height = height * ratio;
    const ctx = canvas.getContext("2d"), bar = 24, x = (ms) => ((ms - end + DAY) / DAY) * width;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.fillStyle = colours.sunken;
    ctx.fillRect(0, 0, width, bar);
    ctx.font = "11px Inter, sans-serif";
    ctx.textAlign = "center";
    if (series?.t.length) bars(ctx, x, bar);
    for (const a of alarms) paintShape(ctx, a.severity === "alarm" ? "alarm" : "warn", x(a.raised_ns / 1e6) - 5, 1, 10, (name) => colours[name]);
    const every = width < 500 ? 6 * 3600e3 : 3 * 3600e3;
    ctx.fillStyle = colours.ink3;
    for (let t = Math.ceil((end - DAY) / every) * every; t < end; t += every) {
      ctx.fillRect(x(t), bar, 1, 3);
      if (x(t) > 18 && x(t) < width - 18) ctx.fillText(new Date(t).toISOString().slice(11, 16), x(t), 37);
    }
    place();
  }

  /** Range of the signal per five minutes; where no sample is, nothing is drawn and a long gap says how long. */
  function bars(ctx, x, bar) {
    const lo = series.lo ?? series.v, hi = series.hi ?? series.v, bin = DAY / POINTS, low = Math.min(...lo.filter(Number.isFinite)), high = Math.max(...hi.filter(Number.isFinite)), span = high - low || 1;
    ctx.fillStyle = colours.s2;
    let before = null;
    series.t.forEach((ns, i) => {
      const t = ns / 1e6, top = bar - 2 - ((hi[i] - low) / span) * (bar - 8), foot = bar - 2 - ((lo[i] - low) / span) * (bar - 8);
      ctx.fillStyle = colours.s2;
      ctx.fillRect(x(t), top, Math.max(1, x(t + bin) - x(t) - 1), Math.max(2, foot - top));
      if (before !== null && t - before > 3 * bin) gap(ctx, x, before + bin, t, bar);
      before = t;
    });
  }

  function gap(ctx, x, from, to, bar) {
    ctx.fillStyle = colours.surface;
    ctx.fillRect(x(from), 0, x(to) - x(from), bar);
    ctx.strokeStyle = colours.line2;
    ctx.lineWidth = 0.6;
    ctx.beginPath();
    for (let px = x(from); px < x(to); px += 5) { ctx.moveTo(px, bar); ctx.lineTo(Math.min(x(to), px + 8), bar - Math.min(8, x(to) - px)); }
    ctx.stroke();
    const text = `gap ${since(to - from)}`;
    ctx.fillStyle = colours.ink2;
    if (x(to) - x(from) > 22 || x(from) > 40) ctx.fillText(text, (x(from) + x(to)) / 2, 11);
  }

  function place() {
    const share = Math.max(0, Math.min(1, (clock.nowMs() - end + DAY) / DAY));
    handle.style.left = `${share * 100}%`;
    handle.classList.toggle("tf-held", !clock.live);
    past.style.visibility = clock.live ? "hidden" : "";
    hint.style.visibility = clock.live ? "" : "hidden";
    known.value = clock.knownMs === null ? "now" : "then";
    strip.setAttribute("aria-valuenow", Math.round(share * 1440));
    strip.setAttribute("aria-valuetext", clock.live ? "live" : utcMs(clock.atMs));
  }

  const timeAt = (event) => { const r = strip.getBoundingClientRect(); return end - DAY + DAY * Math.max(0, Math.min(1, (event.clientX - r.left) / r.width)); };
  strip.addEventListener("pointerdown", (event) => {
    drag = { from: timeAt(event), shift: event.shiftKey };
    strip.setPointerCapture(event.pointerId);
    if (!drag.shift) clock.set({ atMs: drag.from });
  });
  strip.addEventListener("pointermove", (event) => {
    strip.title = utc(timeAt(event));
    if (!drag) return;
    const to = timeAt(event);
    if (drag.shift) clock.set({ atMs: Math.max(drag.from, to), range: `${Math.max(1, Math.round(Math.abs(to - drag.from) / 1000))}s` });
    else clock.set({ atMs: to });
  });
  for (const name of ["pointerup", "pointercancel"]) strip.addEventListener(name, () => { drag = null; });
  strip.addEventListener("keydown", (event) => {
    const minutes = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 }[event.key];
    if (minutes) clock.step(minutes * 60e3 * (event.shiftKey ? 10 : 1));
    else if (event.key === "Home") clock.set({ atMs: end - DAY });
    else if (event.key === "End") clock.resume();
    else return;
    event.preventDefault();
  });

  function recolour() { colours = Object.fromEntries(TOKENS.map((name) => [name, token(host, name)])); paint(); }
  const again = poll(60_000, () => host.isConnected, read, (found) => {
    if (!found || found.id !== twin.id) return;
    ({ series, alarms, end } = found);
    signal = found.about;
    put(note, found.failed ? "no history" : `24 h of ${title(signal.name).toLowerCase()}`);
    paint();
  }, () => {});
  let seen = "";
  const drops = [twin.watch(() => { const key = `${twin.id}|${twin.data ? twin.charted(1)[0]?.name : ""}`; if (key !== seen) { seen = key; series = null; alarms = []; paint(); again(); } }),
    clock.onChange(() => { if (!clock.live && (clock.atMs < end - DAY || clock.atMs > end)) again(); place(); })];
  const resized = new ResizeObserver(paint), scheme = new MutationObserver(recolour);
  resized.observe(strip);
  scheme.observe(document.documentElement, { attributeFilter: ["style"] });
  everySecond(host, () => { if (clock.live && !drag) { end = serverNow(); place(); } });
  window_();
  recolour();
  return { destroy: () => { drops.forEach((drop) => drop()); resized.disconnect(); scheme.disconnect(); } };
}
