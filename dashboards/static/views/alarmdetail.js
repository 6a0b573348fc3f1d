/** One alarm: its cause, what can be done, the signal around its raise, what weighed most, its life and where it came from. */
import { card, clock, everySecond, go, h, keys, number, plural, put, route, shape, since, skeleton, title, utc } from "../lib.js";
import { acknowledge, alarms, choice, gate, mark, shownBy, unshelve } from "../lib/alarms.js";
import { alarmChart, around } from "../lib/alarmchart.js";
import { life, lineage } from "../lib/alarmlife.js";
import { commands } from "../lib/commands.js";
import { scoreChart } from "../lib/scores.js";
import { sent } from "../lib/sent.js";
import { narrow, short } from "../lib/shared.js";
import { shelveForm } from "../lib/shelve.js";

export default function alarmdetail(host) {
  const root = h("div"), scores = scoreChart();
  host.append(root);
  let built = "", chart = null, asking = null, button = null, said = null, shown = null;

  const current = () => (alarms.data ?? []).find((a) => a.id === route.sel) ?? shownBy(choice.filter)[0] ?? null;
  /** The marked rows, or the one shown. */
  const targets = () => { const marked = (alarms.data ?? []).filter((a) => choice.marked.has(a.id)); return marked.length > 1 ? marked : [current()].filter(Boolean); };

  function draw() {
    const a = current();
    if (!alarms.data) {
      if (built === "reading") return;
      built = "reading";
      const box = card("Alarm");
      box.body.append(alarms.error ? h("p.tf-pad.tf-note", {}, "Waits for the alarms.") : skeleton(8, "Reading the alarm…", 32));
      root.replaceChildren(box.root);
      return;
    }
    const key = a ? JSON.stringify([a.id, a.kind, a.cause, a.score, a.threshold, a.ranked, a.count, a.acked, a.returned, a.shelved, a.wasShelved, gate(), clock.live, chart?.unit]) : "none";
    if (key !== built) {
      if (a?.id !== shown?.id) { asking = null; chart?.destroy(); chart = null; scores.hide(); }
      shown = a;
      built = key;
      button = said = null;
      root.replaceChildren(a ? panel(a) : nothing());
    }
    if (!a) return;
    shown = a;
    chart?.show(a);
    if (a.source_kind === "detector") scores.show(a, ...around(a));
    progress(a);
  }

  function nothing() {
    const box = card("Alarm"), wrong = route.sel && !alarms.data.some((a) => a.id === route.sel);
    box.body.append(h("p.tf-pad.tf-note", {}, wrong ? `${route.sel} is no alarm of this instant. Choose a row.` : "Choose a row to see its cause."));
    return box.root;
  }

  function panel(a) {
    const live = a.kind === "open" || a.kind === "returned", loud = a.kind === "open" || (a.kind === "acked" && a.severity === "alarm");
    const word = { open: gate() ? "not acknowledged" : "open", acked: `acknowledged by ${a.acked?.who}`, returned: gate() ? "returned, not acknowledged" : "returned", shelved: `shelved until ${utc(a.shelved?.untilMs)}`, gone: "returned" }[a.kind];
    const box = card(a.twin), state = h("span.tf-detailstate", {}, [a.priority, word].filter(Boolean).join(", "));
    box.head.prepend(shape(mark(a)));
    put(box.note, short(a.id));
    box.note.title = `Id ${a.id}`;
    box.head.append(state);
    if (a.kind === "open") state.classList.add(a.severity === "alarm" ? "tf-bad1" : "tf-bad2");
    if (loud) box.root.classList.add(a.severity === "alarm" ? "tf-red" : "tf-amber");
    const may = gate() && clock.live;
    button = may && live ? h("button.tf-button.tf-primary", { type: "button", onclick: () => { acknowledge(targets()); choice.marked.clear(); alarms.tell(); } }, h("span", {}, "Acknowledge"), h("kbd", {}, "A")) : null;
    const aside = may && (a.kind === "open" || a.kind === "acked") ? h("button.tf-button", { type: "button", onclick: () => ask(a) }, "Shelve…", h("kbd", {}, "S"))
      : may && a.kind === "shelved" ? h("button.tf-button", { type: "button", onclick: () => unshelve(a) }, "End shelving") : null;
    said = h("p.tf-hint", { role: "status", hidden: true });
    chart ??= alarmChart(draw);
    const what = a.signal || a.ranked?.[0]?.[0], origin = lineage(a);
    box.body.append(h("div.tf-causebody", {}, h("p.tf-causetext", {}, a.cause || "No cause was given."),
      h("div.tf-actions", {}, button, aside, h("button.tf-button", { type: "button", onclick: () => { clock.set({ atMs: a.raised + clock.spanMs / 5 }); go("twin", { id: a.twin }); } }, `Open at ${utc(a.raised)}`),
        narrow() ? h("button.tf-plain", { type: "button", onclick: () => document.querySelector(".st-key-v_alarmlist")?.scrollIntoView() }, "Back to the list") : null),
      said, asking?.root ?? null,
      section(what ? `${title(what)} when it was raised` : "When it was raised", chart.root), scores.root, weights(a), section("Life", life(a, gate(), chart?.unit)), origin ? section("Lineage", origin) : null));
    return box.root;
  }

  const section = (name, ...inside) => h("div.tf-part2", {}, h("h3.tf-sub2", {}, name), ...inside);

  function weights(a) {
    if (!a.ranked?.length) return null;
    return section("Signals that weigh most", h("div", { role: "list" }, ...a.ranked.slice(0, 6).map(([name, share]) => h("div.tf-weigh", { role: "listitem" },
      h("span.tf-clip", { title: name }, title(name)), h("i.tf-track", {}, h("i", { style: `width:${Math.max(0, Math.min(1, share)) * 100}%` })), h("span.tf-share", {}, number(share * 100), h("span.tf-unit", {}, "%"))))));
  }

  function ask(a) {
    if (!a || !gate() || !clock.live || (a.kind !== "open" && a.kind !== "acked")) return;
    asking = shelveForm(a, () => { asking = null; built = ""; draw(); });
    built = "";
    draw();
    asking.focus();
  }

  /** What became of the commands sent for this alarm. */
  function progress(a) {
    const of = (verb) => sent.of(`${verb}:${a.id}`), ack = of("acknowledge"), latest = [ack, of("shelve"), of("unshelve")].filter(Boolean).sort((x, y) => y.sinceMs - x.sinceMs)[0];
    const busy = ack && (ack.state === "sending" || ack.state === "waiting" || (ack.state === "confirmed" && (a.kind === "open" || a.kind === "returned")));
    const many = targets().length;
    if (button) { button.disabled = Boolean(busy); put(button.firstChild, busy ? "Acknowledging…" : many > 1 ? `Acknowledge ${plural(many, "row")}` : "Acknowledge"); button.lastChild.hidden = Boolean(busy); }
    if (!said) return;
    const waits = latest && latest !== ack && (latest.state === "sending" || latest.state === "waiting");
    const text = latest?.said ? `${latest.said} The alarm is as it was.` : waits ? `${latest === of("shelve") ? "Shelving…" : "Ending the shelving…"} ${since(Date.now() - latest.sinceMs)}` : "";
    said.hidden = !text;
    put(said, text);
    said.classList.toggle("tf-warn", Boolean(latest?.said));
  }

  keys({ s: ["shelve", () => ask(current())] }, host);
  const scheme = new MutationObserver(() => chart?.recolour());
  scheme.observe(document.documentElement, { attributeFilter: ["style"] });
  const drops = [alarms.watch(draw), commands.watch(draw), route.onChange(draw), clock.onChange(draw)];
  everySecond(host, draw);
  draw();
  return { destroy: () => { drops.forEach((drop) => drop()); scheme.disconnect(); chart?.destroy(); } };
}
