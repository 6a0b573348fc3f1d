/** Signals of a twin with a moving indicator, value, unit and age; below what it reports and what is wanted of it. */
import { age, card, clock, everySecond, h, link, put, quantity, shape, since, skeleton, subscribe, title, twin } from "../lib.js";
import { gauge, judge } from "../lib/gauge.js";

export default function signals(host) {
  const box = card("Signals", "bar: normal range, limits, value"), list = h("div.tf-signals", { role: "list" }), rest = h("div.tf-rest");
  box.body.append(list, rest);
  host.append(box.root);
  let rows = [], built = "", frame = 0, dropLive = null, liveId = null, alarmed = new Map();

  function row(signal) {
    const mark = h("span.tf-rowmark"), value = h("b.tf-value"), unit = h("span.tf-unit"), ago = h("span.tf-ago"), bar = gauge(signal);
    const root = h("div.tf-row", { role: "listitem" }, mark,
      h("button.tf-rowname.tf-clip", { type: "button", title: `${signal.name}: show its chart`, onclick: () => twin.pick(signal.name) }, title(signal.name)),
      bar.root, h("span.tf-rowvalue", {}, value, unit), ago);
    root.dataset.signal = signal.name;
    return { signal, root, mark, value, unit, ago, bar, state: null };
  }

  function paint() {
    frame = 0;
    for (const r of rows) {
      const { value, tMs, stale } = twin.at(r.signal);
      const over = judge(r.signal, value), state = stale ? (over ? `${over.split("-")[0]}-ack` : "offline") : alarmed.get(r.signal.name) ?? over;
      if (state !== r.state) {
        r.state = state;
        r.mark.replaceChildren(...(state ? [shape(state, 14, state === "warn-ack" && !alarmed.has(r.signal.name) ? "Outside its normal range" : undefined)] : []));
        r.root.classList.toggle("tf-alarmed", state === "alarm");
      }
      const [digits, unit] = quantity(r.signal, value);
      put(r.value, digits);
      put(r.unit, unit);
      r.value.classList.toggle("tf-stale", stale);
      r.bar.set(value, state);
      const old = tMs === null ? null : clock.nowMs() - tMs;
      put(r.ago, old === null ? "no value" : stale ? `stale ${since(old)}` : clock.live ? age(old) : `at ${new Date(clock.atMs).toISOString().slice(14, 19)}`);
      r.ago.classList.toggle("tf-old", stale);
    }
  }
  const soon = () => { frame ||= requestAnimationFrame(paint); };

  function draw() {
    const data = twin.data;
    if (twin.id !== liveId) { dropLive?.(); liveId = twin.id; dropLive = liveId === null ? null : subscribe(`twin:${liveId}`, soon); built = ""; }
    if (!data) { if (built !== "none") { built = "none"; rows = []; list.replaceChildren(skeleton(8, "Reading the signals…")); rest.replaceChildren(); } return; }
    alarmed = new Map(twin.open().filter((a) => a.signal).map((a) => [a.signal, a.acknowledged ? `${a.severity}-ack` : a.severity]));
    const key = JSON.stringify(data.signals.map((s) => [s.name, s.unit, s.normal_low, s.normal_high, s.limits, s.low, s.high]));
    if (key !== built) {
      built = key;
      rows = data.signals.map(row);
      list.replaceChildren(...(rows.length ? rows.map((r) => r.root) : [h("p.tf-note.tf-pad", {}, "This twin had no signal at this instant.")]));
    }
    data.signals.forEach((s, i) => { rows[i].signal = s; });
    report(data);
    paint();
  }

  const restRows = new Map();
  function report(data) {
    const lines = [];
    const flat = (value, path) => {
      if (value !== null && typeof value === "object" && !Array.isArray(value)) for (const [k, v] of Object.entries(value)) flat(v, path ? `${path}.${k}` : k);
      else lines.push([title(path), Array.isArray(value) ? JSON.stringify(value) : value, "", null, ""]);
    };
    flat(data.report ?? {}, "");
    for (const [name, v] of Object.entries(data.derived?.velocity ?? {})) lines.push([`${title(name)}, rate of change`, v.value, v.unit, null, ""]);
    for (const [name, wish] of Object.entries(data.desired ?? {})) {
      const signal = data.signals.find((s) => s.name === name), differs = name in (data.delta ?? {});
      const value = wish !== null && typeof wish === "object" ? wish.value : wish;
      lines.push([`${title(name)}, desired`, value, signal?.unit ?? "", wish?.at_ns ?? null, differs ? "warn-ack" : ""]);
    }
    if (!lines.length) { rest.replaceChildren(); restRows.clear(); return; }
    if (!rest.firstChild) rest.append(h("h3.tf-sub", {}, "State and derived"));
    for (const [name, value, unit, ns, state] of lines) {
      let r = restRows.get(name);
      if (!r) {
        r = { mark: h("span.tf-rowmark"), value: h("b.tf-value"), unit: h("span.tf-unit"), ago: h("span.tf-ago") };
        r.root = h("div.tf-row.tf-plainrow", {}, r.mark, h("span.tf-clip", {}, name), h("span.tf-rowvalue", {}, r.value, r.unit), r.ago);
        restRows.set(name, r);
        rest.append(r.root);
      }
      const [digits, text] = typeof value === "number" ? quantity({ unit, value, ...(data.signals.find((s) => `${title(s.name)}, desired` === name) ?? {}) }, value) : quantity({}, value);
      put(r.value, digits);
      put(r.unit, text);
      r.value.title = digits;
      put(r.ago, ns ? age(clock.nowMs() - ns / 1e6) : "");
      if (r.mark.dataset.state !== state) { r.mark.dataset.state = state; r.mark.replaceChildren(...(state ? [shape(state, 14, "Reported and desired differ")] : [])); }
    }
    for (const [name, r] of restRows) if (!lines.some((l) => l[0] === name)) { r.root.remove(); restRows.delete(name); }
  }

  const drops = [twin.watch(draw), link.onChange(soon)];
  everySecond(host, () => { if (twin.data) soon(); });
  draw();
  return { destroy: () => { drops.forEach((drop) => drop()); dropLive?.(); } };
}
