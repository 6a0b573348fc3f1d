/** The alarms of the chosen filter, worst first; a row keeps its element and, under pointer or focus, its place. */
import { card, clock, empty, everySecond, fleet, go, h, keys, number, plural, put, route, shape, since, skeleton } from "../lib.js";
import { acknowledge, alarms, choice, choose, gate, mark, shownBy, words } from "../lib/alarms.js";
import { commands } from "../lib/commands.js";
import { sent } from "../lib/sent.js";
import { narrow, problem, saveCsv, short, stepper } from "../lib/shared.js";

const FIRST = 12, STEP = 50;
const NAMES = { open: "Alarms", unacked: "Not acknowledged", acked: "Acknowledged", returned: "Returned", shelved: "Shelved", day: "Last 24 h" };

export default function alarmlist(host) {
  const tips = h("span.tf-tips"), save = h("button.tf-plain", { type: "button", onclick: csv }, "CSV");
  const box = card("Alarms", "priority, then time", tips, save), fault = problem(alarms, "The alarms cannot be read");
  const list = h("div.tf-list", { role: "listbox", "aria-label": "Alarms", "aria-multiselectable": "true" });
  const more = h("button.tf-fold", { type: "button", hidden: true, onclick: () => { shown = Math.max(STEP, shown + STEP); draw(); } });
  box.body.append(list, more);
  host.append(fault.root, box.root);
  const rows = new Map();
  let shown = 0, order = null, sites = new Map(), filter = choice.filter, tipped = null;

  function row(a) {
    const m = h("span"), name = h("b"), place = h("span.tf-clip"), id = h("span.tf-mono", { title: a.id }, short(a.id)), cause = h("p.tf-cause"), said = h("span.tf-said"), old = h("span.tf-old2"), pri = h("span.tf-pri");
    const root = h("div.tf-alarmrow", { role: "option", tabindex: -1, "data-key": a.id, onclick: (e) => pick(a.id, e.shiftKey),
      ondblclick: () => open(a.id), onkeydown: (e) => { if (e.key === "Enter") open(a.id); } }, m, pri, h("div.tf-who", {}, name, h("span.tf-note.tf-where", {}, place, " · ", id)), cause, said, old);
    return { root, m, name, place, cause, said, old, pri };
  }

  function fill(a) {
    if (!rows.has(a.id)) rows.set(a.id, row(a));
    const r = rows.get(a.id), state = mark(a), [text, flaps] = words(a);
    if (r.m.dataset.state !== state) { r.m.dataset.state = state; r.m.replaceChildren(shape(state)); }
    put(r.pri, a.priority ?? "");
    put(r.name, a.twin);
    const site = sites.get(a.twin) || a.type || "";
    put(r.place, site.split(" / ")[0]);
    r.place.title = site;
    put(r.cause, a.cause || "No cause was given.");
    r.cause.title = a.cause ?? "";
    put(r.said, text);
    put(r.old, since(clock.nowMs() - a.raised));
    r.said.className = `tf-said${flaps ? " tf-warn" : a.kind === "open" && gate() ? (a.severity === "alarm" ? " tf-bad1" : " tf-bad2") : ""}`;
    r.root.classList.toggle("tf-quiet", a.kind !== "open");
    r.root.classList.toggle("tf-marked", choice.marked.has(a.id));
    const on = current() === a.id;
    r.root.setAttribute("aria-selected", on || choice.marked.has(a.id));
    r.root.classList.toggle("tf-picked", on);
    r.root.tabIndex = on ? 0 : -1;
    return r.root;
  }

  const wanted = () => shownBy(choice.filter);
  const current = () => ((alarms.data ?? []).some((a) => a.id === route.sel) ? route.sel : wanted()[0]?.id);

  function visible() {
    const all = wanted(), must = choice.filter === "open" ? all.filter((a) => a.kind === "open").length : 0, end = Math.max(FIRST, must, shown);
    return [all, all.filter((a, i) => i < end || a.id === route.sel)];
  }

  function draw() {
    fault.draw();
    box.root.hidden = !alarms.data && Boolean(alarms.error);
    if (!alarms.data) { if (!list.firstChild) list.append(skeleton(8, "", 52)); put(list.querySelector("p"), `Reading the alarms… ${since(alarms.waitedMs())}`); return; }
    if (filter !== choice.filter) { filter = choice.filter; shown = 0; order = null; }
    put(box.head.querySelector("h2"), NAMES[filter]);
    const [all, some] = visible(), next = some.map((a) => a.id + a.kind).join();
    const elements = some.map(fill);
    if (order === null || (next !== order && !list.querySelector(".tf-alarmrow:hover"))) {
      const focused = list.contains(document.activeElement) ? document.activeElement : null;
      order = next;
      list.replaceChildren(...(elements.length ? elements : [nothing()]));
      focused?.isConnected && focused.focus({ preventScroll: true });
      for (const id of rows.keys()) if (!alarms.data.some((a) => a.id === id)) rows.delete(id);
    }
    const rest = all.filter((a) => !some.includes(a)), of = (kind, word) => { const n = rest.filter((a) => a.kind === kind).length; return n ? `${number(n)} ${word}` : ""; };
    more.hidden = !rest.length;
    put(more, `${number(rest.length)} more: ${[of("open", "open"), of("acked", "acknowledged"), of("returned", "returned"), of("gone", "returned"), of("shelved", "shelved")].filter(Boolean).join(", ")}    Show`);
    put(box.note, sent.busy ? `acknowledging ${number(sent.busy)}…` : choice.marked.size ? `${plural(choice.marked.size, "row")} marked` : all.length ? "priority, then time" : "");
    if (tipped !== gate()) {
      tipped = gate();
      const key = (k, text) => [h("kbd", {}, k), ` ${text} `];
      tips.replaceChildren(...key("J", ""), ...key("K", "move ·"), ...key("↵", gate() ? "open ·" : "open"), ...(gate() ? key("A", "acknowledge") : []));
    }
    save.hidden = !all.length;
  }

  function nothing() {
    const last = Math.max(0, ...(alarms.data ?? []).map((a) => a.returned ?? 0)), known = alarms.data.length > 0;
    const past = last ? `Last one returned ${since(clock.nowMs() - last)} ago.` : "None was raised in the last 24 h.";
    if (choice.filter === "open") return empty(clock.live ? "No open alarm" : "No alarm was open at this instant", past);
    const box2 = empty(`No alarm is in “${NAMES[choice.filter].toLowerCase()}”`, known ? "Choose another filter." : past);
    box2.append(h("button.tf-button", { type: "button", onclick: () => choose("open") }, "Show open alarms"));
    return box2;
  }

  function pick(id, add = false) {
    if (add) { if (current()) choice.marked.add(current()); choice.marked.add(id); } else choice.marked.clear();
    if (route.sel !== id) route.select(id);
    alarms.tell();
    if (narrow() && !add) document.querySelector(".st-key-v_alarmdetail")?.scrollIntoView({ block: "start" });
  }

  function open(id) {
    const a = alarms.data?.find((found) => found.id === id);
    if (a) go("twin", { id: a.twin });
  }

  const items = () => [...list.querySelectorAll(".tf-alarmrow")];
  const step = stepper(items, current, (id) => { route.select(id); alarms.tell(); });
  const move = (by, add) => { const from = current(); if (!add) choice.marked.clear(); else if (from) choice.marked.add(from); const to = step(by); if (add && to) choice.marked.add(to); alarms.tell(); };
  keys({ j: ["next row", () => move(1, false)], k: ["row before", () => move(-1, false)],
    "Shift+J": ["mark and next row", () => move(1, true)], "Shift+K": ["mark and row before", () => move(-1, true)],
    a: ["acknowledge", () => { const ids = choice.marked.size ? choice.marked : new Set([current()]); acknowledge((alarms.data ?? []).filter((a) => ids.has(a.id))); choice.marked.clear(); draw(); }] }, host);

  function csv() {
    saveCsv("alarms.csv", ["id", "twin", "signal", "severity", "priority", "state", "cause", "raised_utc", "returned_utc", "acknowledged_by", "acknowledged_utc", "count"],
      wanted().map((a) => [a.id, a.twin, a.signal, a.severity, a.priority, a.kind, a.cause, iso(a.raised), iso(a.returned), a.acked?.who, iso(a.acked?.ms), a.count]));
  }
  const iso = (ms) => (ms ? new Date(ms).toISOString() : "");

  const drops = [alarms.watch(draw), commands.watch(draw), route.onChange(draw), fleet.watch(() => { sites = new Map((fleet.twins ?? []).map((t) => [t.id, t.site])); draw(); })];
  everySecond(host, draw);
  draw();
  return { destroy: () => { drops.forEach((drop) => drop()); choice.marked.clear(); } };
}
