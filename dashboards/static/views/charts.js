/** Live charts: up to four panels on one time axis; one paint per animation frame, however fast samples come. */
import { buffer, card, clock, empty, everySecond, failure, get, h, link, number, put, quantity, serverNow, since, skeleton, subscribe, title, twin } from "../lib.js";
import { merge, panel, uplot } from "../lib/panel.js";

const PANELS = 4, POINTS = 800, SETTLE_MS = 120, QUIET_MS = 5000;

export default function charts(host) {
  const save = h("button.tf-plain", { type: "button", onclick: csv }, "CSV"), query = h("button.tf-plain", { type: "button", title: "SQL of these samples, for any ClickHouse client", onclick: copy }, "Copy query");
  const legend = h("span.tf-legend", {}, h("i.tf-keyline"), h("span", {}, "value"), h("i.tf-keyband"), h("span", {}, "normal"), h("i.tf-keylimit"), h("span", {}, "limit"));
  const box = card("Live charts", "", legend, query, save), area = h("div.tf-charts"), problem = h("div");
  box.body.append(problem, area);
  host.append(box.root);
  let U = null, panels = [], built = "", history = {}, asked = "", askedMs = 0, step = 0, turn = 0, error = null;
  let frame = 0, paints = 0, rate = 0, liveId = null, dropLive = null, late = 0;
  area.append(skeleton(4, "Reading the series…", 150));

  const height = () => (host.clientWidth < 500 ? 96 : 122);

  function shape() {
    const wanted = twin.data && U ? twin.charted(PANELS) : [];
    const key = JSON.stringify([twin.id, host.clientWidth < 500, wanted.map((s) => [s.name, s.unit, s.normal_low, s.normal_high, s.limits])]);
    if (key === built || !twin.data || !U) return;
    built = key;
    panels.forEach((p) => p.destroy());
    const ranked = twin.worst()?.signal ?? twin.worst()?.ranked?.[0]?.[0];
    area.replaceChildren(...(wanted.length ? [] : [empty("No signal to draw", "The definition of this twin names no signal.")]));
    panels = wanted.map((signal, i) => panel(U, area, signal, { last: i === wanted.length - 1, height: height() + (i === wanted.length - 1 ? 22 : 0), ranked: signal.name === ranked,
      alarms: () => (twin.data?.alarms ?? []).filter((a) => a.raised_ns / 1e6 <= clock.nowMs()), onZoom: zoom }));
    asked = "";
    size();
  }

  function zoom(from, to) {
    clock.set({ atMs: to, range: `${Math.max(1, Math.round((to - from) / 1000))}s` });
  }

  /** The past of the range, once per range, instant and choice of panels; while live again after a fiftieth of the range. */
  async function past() {
    if (!panels.length) return;
    const names = panels.map((p) => p.signal.name).join(), key = `${twin.id}|${names}|${clock.range}|${clock.atMs}|${clock.knownMs}`;
    const age = Date.now() - askedMs;
    if (key === asked && !error && (!clock.live || age < Math.max(60_000, clock.spanMs / 50))) return;
    if (key === asked && error && age < 3000) return;
    asked = key;
    askedMs = Date.now();
    const mine = ++turn, to = clock.nowMs(), from = to - clock.spanMs;
    await new Promise((done) => setTimeout(done, clock.live ? 0 : SETTLE_MS));
    if (mine !== turn) return;
    try {
      const known = clock.knownMs === null ? null : Math.round(clock.knownMs * 1e6);
      const answer = await get("series", { twin: twin.id, signals: names, from_ns: Math.round(from * 1e6), to_ns: Math.round(to * 1e6), points: POINTS, known_ns: known });
      if (mine !== turn) return;
      history = answer.signals ?? {};
      step = clock.spanMs / POINTS;
      error = null;
    } catch (failed) { if (mine !== turn) return; error = failed; history = {}; }
    problem.replaceChildren(...(error ? [failure(error, () => { askedMs = 0; past(); }, "The past of these charts cannot be read; live values go on")] : []));
    soon();
  }

  function paint() {
    frame = 0;
    if (!twin.data || !panels.length) return;
    const to = clock.nowMs(), from = to - clock.spanMs, live = buffer(twin.id);
    for (const p of panels) {
      const signal = twin.data.signals.find((s) => s.name === p.signal.name) ?? p.signal, { value, stale } = twin.at(signal);
      const past = history[signal.name], points = clock.knownMs === null ? live.get(signal.name) : null;
      const period = signal.rate_hz > 0 ? 1000 / signal.rate_hz : 0;
      p.draw(merge(past, points, from, to), from, to, value, stale, past?.lo ? Math.max(step, period) : period);
    }
    paints++;
    host.dataset.paints = Number(host.dataset.paints ?? 0) + 1;
  }
  const soon = () => { frame ||= requestAnimationFrame(paint); };

  function draw() {
    if (twin.id !== liveId) {
      dropLive?.();
      liveId = twin.id;
      history = {};
      dropLive = liveId === null ? null : subscribe(`twin:${liveId}`, (m) => { if (m.rows?.length) { late = serverNow() - Math.max(...m.rows.map((r) => r[1])) / 1e6; if (clock.live) soon(); } });
    }
    shape();
    past();
    note();
    soon();
  }

  function note() {
    const newest = Math.max(0, ...(twin.data?.signals ?? []).map((s) => twin.at(s).tMs ?? 0)), quiet = clock.nowMs() - newest;
    const silent = clock.live && newest > 0 && (!link.fed || quiet > QUIET_MS);
    put(box.note, !clock.live ? `frozen at ${new Date(clock.atMs).toISOString().slice(11, 23)}` : silent ? `no data for ${since(quiet)}`
      : `${since(clock.spanMs)} · ${number(rate)} frames/s · age ${number(Math.max(0, late))} ms`);
    box.note.classList.toggle("tf-bad", silent);
  }

  function second() {
    rate = paints;
    paints = 0;
    draw();
    for (const p of panels) {
      const [digits, unit] = quantity(p.signal, twin.at(p.signal).value);
      p.label(`${title(p.signal.name)}, ${since(clock.spanMs)}, ${clock.live ? "now" : "then"} ${digits} ${unit}`);
    }
  }

  async function copy() {
    const to = clock.nowMs(), known = clock.knownMs === null ? null : Math.round(clock.knownMs * 1e6);
    try {
      const { sql } = await get("series/sql", { twin: twin.id, signals: panels.map((p) => p.signal.name).join(), from_ns: Math.round((to - clock.spanMs) * 1e6), to_ns: Math.round(to * 1e6), known_ns: known });
      await navigator.clipboard.writeText(sql);
      put(query, "Copied");
    } catch { put(query, "Not copied"); }
    setTimeout(() => put(query, "Copy query"), 2000);
  }

  function csv() {
    const to = clock.nowMs(), from = to - clock.spanMs;
    const lines = panels.flatMap((p) => {
      const [x, y] = merge(history[p.signal.name], buffer(twin.id).get(p.signal.name), from, to);
      return Array.from(x, (t, i) => `${twin.id},${p.signal.name},${new Date(t * 1000).toISOString()},${y[i]},${p.signal.unit}`);
    });
    const url = URL.createObjectURL(new Blob([`device,signal,time_utc,value,unit\n${lines.join("\n")}\n`], { type: "text/csv" }));
    h("a", { href: url, download: `${twin.id}.csv` }).click();
    URL.revokeObjectURL(url);
  }

  function size() { for (const p of panels) p.size(area.clientWidth); }
  const resized = new ResizeObserver(() => { shape(); size(); soon(); });
  resized.observe(area);
  const scheme = new MutationObserver(() => panels.forEach((p) => p.recolour()));
  scheme.observe(document.documentElement, { attributeFilter: ["style"] });
  uplot().then((found) => { U = found; draw(); }, (failed) => problem.replaceChildren(failure({ what: failed.message, next: "Reload the page." }, () => location.reload())));
  const drop = twin.watch(draw);
  everySecond(host, second);
  return { destroy: () => { drop(); dropLive?.(); resized.disconnect(); scheme.disconnect(); panels.forEach((p) => p.destroy()); } };
}
