/** Needs attention: abnormal twins, worst first; rows keep their node, order changes only when a state changes. */
import { age, card, clock, empty, everySecond, fleet, get, go, h, keys, link, plural, put, quantity, shape, since, skeleton, title } from "../lib.js";
import { sparkline } from "../lib/spark.js";

const SHOWN = 50, SPARK_MS = 30_000;
const NAMES = { alarm: "In alarm", warn: "Warnings", offline: "Offline", ok: "Normal" };

export default function attention(host) {
  const save = h("button.tf-plain", { type: "button", onclick: () => csv(fleet.twins ?? []) }, "Download CSV");
  const box = card("Needs attention", "", save), list = h("div.tf-list", { role: "listbox", "aria-label": "Needs attention" });
  const more = h("button.tf-plain.tf-more", { type: "button", hidden: true, onclick: () => { shown += SHOWN; draw(); } }, "Show more");
  box.body.append(list, more);
  host.append(box.root);
  list.append(skeleton(8, "Reading twins…", 48));
  const rows = new Map();
  let shown = SHOWN, order = "", started = Date.now(), queue = Promise.resolve();

  function row(twin) {
    const mark = h("span"), name = h("b"), place = h("span.tf-note.tf-clip"), cause = h("p.tf-cause"), spark = h("canvas.tf-spark", { "aria-hidden": true });
    const signal = h("span.tf-signal"), value = h("b.tf-value"), unit = h("span.tf-unit"), old = h("span.tf-ago"), long = h("span.tf-ago");
    const root = h("div.tf-att", { role: "option", tabindex: -1, "data-twin": twin.id, onclick: () => go("twin", { id: twin.id }),
      onkeydown: (e) => { if (e.key === "Enter") go("twin", { id: twin.id }); } },
    mark, h("div.tf-who", {}, name, place), cause, spark, h("div.tf-what", {}, signal, h("span", {}, value, unit)), h("div.tf-when", {}, old, long));
    return { root, mark, name, place, cause, spark, signal, value, unit, old, long, state: "", sparkMs: 0, sparkKey: "" };
  }

  function fill(r, t) {
    const state = t.unacked === 0 && (t.state === "alarm" || t.state === "warn") ? `${t.state}-ack` : t.state;
    if (r.state !== state) { r.state = state; r.mark.replaceChildren(shape(state)); r.root.classList.toggle("tf-quiet", state !== t.state || t.state === "offline"); }
    put(r.name, t.id);
    put(r.place, [t.site, t.type].filter(Boolean).join(" · "));
    put(r.cause, t.cause || (t.state === "ok" ? "Within its normal range." : "No cause was given."));
    put(r.signal, t.value?.signal ? title(t.value.signal) : "");
    const [digits, unit] = t.value ? quantity(t.value) : ["–", ""];
    put(r.value, digits);
    put(r.unit, unit);
    r.age = t.age_ms;
    r.since = t.since_ns ? t.since_ns / 1e6 : null;
    times(r);
  }

  function times(r) {
    const paused = !clock.live, ms = r.age === null || r.age === undefined ? null : r.age + (paused ? 0 : Date.now() - fleet.atMs);
    const stale = !paused && ms !== null && (r.state === "offline" || !link.fed);
    put(r.old, paused ? `at ${new Date(clock.atMs).toISOString().slice(14, 19)}` : stale ? `stale ${since(ms)}` : age(ms));
    r.old.classList.toggle("tf-old", stale);
    r.value.classList.toggle("tf-stale", stale);
    put(r.long, r.since === null ? "" : `since ${since(clock.nowMs() - r.since)}`);
  }

  function trend(r, t) {
    const key = `${t.value?.signal}|${clock.range}|${clock.atMs}`;
    if (!t.value?.signal || r.spark.offsetParent === null || (key === r.sparkKey && Date.now() - r.sparkMs < SPARK_MS)) return;
    r.sparkKey = key;
    r.sparkMs = Date.now();
    const to = clock.nowMs();
    queue = queue.then(() => get("series", { twin: t.id, signals: t.value.signal, from_ns: Math.round((to - clock.spanMs) * 1e6), to_ns: Math.round(to * 1e6), points: 120 }))
      .then((answer) => sparkline(r.spark, answer.signals?.[t.value.signal], t.value, t.state, [to - clock.spanMs, to]), () => sparkline(r.spark, null, t.value, t.state));
  }

  function draw() {
    const all = fleet.twins;
    if (!all) { box.root.hidden = Boolean(fleet.error); put(list.querySelector("p") ?? list, `Reading twins… ${since(Date.now() - started)}`); return; }
    box.root.hidden = false;
    box.head.hidden = !all.length;
    document.documentElement.classList.toggle("tf-nofleet", !all.length);
    const wanted = fleet.filter ? all.filter((t) => t.state === fleet.filter) : all.filter((t) => t.state !== "ok");
    put(box.head.querySelector("h2"), fleet.filter ? NAMES[fleet.filter] : "Needs attention");
    put(box.note, all.length ? `${plural(wanted.length, "twin")}, worst first` : "");
    save.hidden = !all.length;
    more.hidden = wanted.length <= shown;
    const visible = wanted.slice(0, shown);
    const next = `${fleet.filter}|${all.length > 0}|${link.source?.up}|${visible.map((t) => t.id + t.state + (t.unacked > 0)).join()}`;
    for (const t of visible) { if (!rows.has(t.id)) rows.set(t.id, row(t)); fill(rows.get(t.id), t); }
    if (next !== order && !(list.querySelector(".tf-att:hover, .tf-att:focus") && order.length === next.length)) {
      order = next;
      list.replaceChildren(...(visible.length ? visible.map((t) => rows.get(t.id).root) : [nothing(all)]));
      if (visible.length && !list.querySelector("[tabindex='0']")) list.firstChild.tabIndex = 0;
    }
    for (const t of visible) trend(rows.get(t.id), t);
  }

  function nothing(all) {
    if (all.length) return empty("Nothing needs attention", fleet.filter ? `No twin is in this state.` : `${plural(all.length, "twin")} within the normal range.`);
    if (link.source?.up === false) return empty("Kafka does not answer", `${link.source.cause} Wait, or look at its state.`, ["twinflow status"], "This page fills by itself when it is back.");
    return empty("No twin has sent a sample yet", "Kafka answers; no device has sent anything. Replay a recording, or point a device at this host.",
      ["twinflow replay husky"], "This page fills by itself within a second of the first sample.");
  }

  function move(step) {
    const items = [...list.querySelectorAll(".tf-att")];
    const at = items.indexOf(list.querySelector(".tf-att:focus")), next = items[Math.max(0, Math.min(items.length - 1, at + step))];
    for (const item of items) item.tabIndex = item === next ? 0 : -1;
    next?.focus();
  }
  keys({ j: ["next row", () => move(1)], k: ["row before", () => move(-1)] }, host);
  const drops = [fleet.watch(draw), link.onChange(draw), clock.onChange(() => fleet.twins && draw())];
  everySecond(host, () => { if (fleet.twins) for (const r of rows.values()) times(r); else draw(); });
  return { destroy: () => { drops.forEach((drop) => drop()); document.documentElement.classList.remove("tf-nofleet"); } };
}

function csv(twins) {
  const cell = (text) => `"${String(text ?? "").replaceAll('"', '""')}"`;
  const lines = twins.map((t) => [t.id, t.type, t.site, t.state, t.since_ns, t.cause, t.value?.signal, t.value?.value, t.value?.unit, t.age_ms].map(cell).join());
  const url = URL.createObjectURL(new Blob([`id,type,site,state,since_ns,cause,signal,value,unit,age_ms\n${lines.join("\n")}\n`], { type: "text/csv" }));
  h("a", { href: url, download: "twins.csv" }).click();
  URL.revokeObjectURL(url);
}
