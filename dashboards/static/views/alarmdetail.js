/** One alarm: its cause, what can be done, the signal around its raise, what weighed most, its life and where it came from. */
import { card, clock, everySecond, go, h, keys, number, put, route, shape, since, skeleton, title, utc, utcMs } from "../lib.js";
import { acknowledge, alarms, canShelve, choice, gate, mark, shownBy } from "../lib/alarms.js";
import { alarmChart } from "../lib/alarmchart.js";
import { commands, sent } from "../lib/commands.js";
import { narrow } from "../lib/shared.js";
import { shelveForm } from "../lib/shelve.js";

export default function alarmdetail(host) {
  const root = h("div");
  host.append(root);
  let built = "", chart = null, asking = null, button = null, said = null, shown = null;

  const current = () => (alarms.data ?? []).find((a) => a.id === route.sel) ?? shownBy(choice.filter)[0] ?? null;

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
    const key = a ? JSON.stringify([a.id, a.kind, a.cause, a.score, a.threshold, a.ranked, a.count, a.acked, a.returned, a.shelved, gate(), canShelve(), clock.live, chart?.unit]) : "none";
    if (key !== built) {
      if (a?.id !== shown?.id) { asking = null; chart?.destroy(); chart = null; }
      shown = a;
      built = key;
      button = said = null;
      root.replaceChildren(a ? panel(a) : nothing());
    }
    if (a) { shown = a; chart?.show(a); progress(a); }
  }

  function nothing() {
    const box = card("Alarm"), wrong = route.sel && !alarms.data.some((a) => a.id === route.sel);
    box.body.append(h("p.tf-pad.tf-note", {}, wrong ? `${route.sel} is no alarm of this instant. Choose a row.` : "Choose a row to see its cause."));
    return box.root;
  }

  function panel(a) {
    const live = a.kind === "open" || a.kind === "returned", loud = a.kind === "open" || (a.kind === "acked" && a.severity === "alarm");
    const word = { open: gate() ? "not acknowledged" : "open", acked: `acknowledged by ${a.acked?.who}`, returned: gate() ? "returned, not acknowledged" : "returned", shelved: "shelved", gone: "returned" }[a.kind];
    const box = card(a.twin), state = h("span.tf-detailstate", {}, [a.priority, word].filter(Boolean).join(", "));
    box.head.prepend(shape(mark(a)));
    put(box.note, a.id);
    box.note.title = "Id of this alarm";
    box.note.classList.add("tf-clip");
    box.head.append(state);
    if (a.kind === "open") state.classList.add(a.severity === "alarm" ? "tf-bad1" : "tf-bad2");
    if (loud) box.root.classList.add(a.severity === "alarm" ? "tf-red" : "tf-amber");
    button = gate() && live ? h("button.tf-button.tf-primary", { type: "button", onclick: () => acknowledge([a]) }, h("span", {}, "Acknowledge"), h("kbd", {}, "A")) : null;
    const aside = canShelve() && (a.kind === "open" || a.kind === "acked") ? h("button.tf-button", { type: "button", onclick: () => ask(a) }, "Shelve…", h("kbd", {}, "S")) : null;
    said = h("p.tf-hint", { role: "status", hidden: true });
    chart ??= alarmChart(draw);
    const what = a.signal || a.ranked?.[0]?.[0];
    box.body.append(h("div.tf-causebody", {}, h("p.tf-causetext", {}, a.cause || "No cause was given."),
      h("div.tf-actions", {}, button, aside, h("button.tf-button", { type: "button", onclick: () => { clock.set({ atMs: a.raised + clock.spanMs / 5 }); go("twin", { id: a.twin }); } }, `Open at ${utc(a.raised)}`),
        narrow() ? h("button.tf-plain", { type: "button", onclick: () => document.querySelector(".st-key-v_alarmlist")?.scrollIntoView() }, "Back to the list") : null),
      said, asking?.root ?? null,
      section(what ? `${title(what)} when it was raised` : "When it was raised", chart.root), weights(a), score(a), section("Life", life(a)), lineage(a)));
    return box.root;
  }

  const section = (name, ...inside) => h("div.tf-part2", {}, h("h3.tf-sub2", {}, name), ...inside);

  function score(a) {
    if (!Number.isFinite(a.score) || !Number.isFinite(a.threshold)) return null;
    const top = Math.max(a.score, a.threshold) * 1.15;
    return section("Score against threshold", h("div.tf-weigh3", {}, h("i.tf-track", { style: "position:relative;overflow:visible" }, h("i", { style: `width:${(100 * a.score) / top}%` }),
      h("i.tf-mark2", { style: `left:${(100 * a.threshold) / top}%` })), h("span.tf-share", {}, h("b", {}, number(a.score, 2)), h("span.tf-unit", {}, `threshold ${number(a.threshold, 2)}`))));
  }

  function weights(a) {
    if (!a.ranked?.length) return null;
    return section("Signals that weigh most", h("div", { role: "list" }, ...a.ranked.slice(0, 6).map(([name, share]) => h("div.tf-weigh", { role: "listitem" },
      h("span.tf-clip", { title: name }, title(name)), h("i.tf-track", {}, h("i", { style: `width:${Math.max(0, Math.min(1, share)) * 100}%` })), h("span.tf-share", {}, number(share * 100), h("span.tf-unit", {}, "%"))))));
  }

  function life(a) {
    const source = a.source_kind === "detector" || Number.isFinite(a.score) ? `score ${number(a.score, 2)} over threshold ${number(a.threshold, 2)}`
      : Number.isFinite(a.value) && Number.isFinite(a.threshold) ? `${number(a.value, 2)} ${chart?.unit ?? ""} ${a.value < a.threshold ? "under" : "over"} the limit ${number(a.threshold, 2)} ${chart?.unit ?? ""}`.replace(/ +/g, " ").trim() : "";
    const name = a.source || a.detector || a.rule, how = [source, name ? `by ${a.ranked?.length || a.detector ? "detector" : "rule"} ${name}` : ""].filter(Boolean).join(", ");
    const steps = [[a.raised, "Raised", how, a.severity]];
    if (a.count > 1) steps.push([null, "Again and again", `${number(a.count)} times in the hour before`, "pending"]);
    if (gate()) steps.push(a.acked ? [a.acked.ms, "Acknowledged", `by ${a.acked.who}, after ${since(a.acked.ms - a.raised)}`, "passed"] : [0, "Acknowledged", "nobody yet", "pending"]);
    if (a.shelved) steps.push([a.shelved.at_ns / 1e6, "Shelved", `until ${utc(a.shelved.untilMs)} by ${a.shelved.who}: ${a.shelved.reason ?? ""}`, "shelved"]);
    steps.push(a.returned ? [a.returned, "Returned to normal", cut(a), "returned"] : [0, "Returned to normal", "not yet", "pending"]);
    const rows = steps.map(([ms, word, text, state]) => h(`li${ms === 0 ? ".tf-todo" : ""}`, {}, shape(state, 12, word), h("time.tf-mono", {}, ms ? utcMs(ms) : ms === 0 ? "–" : ""), h("span", {}, h("b", {}, word), ` ${text}`)));
    return h("ol.tf-life", {}, ...rows);
  }

  const cut = (a) => [`after ${since(a.returned - a.raised)}`, a.ending].filter(Boolean).join(", ");

  function lineage(a) {
    const l = a.lineage, text = typeof l === "string" ? l : l && Object.keys(l).length
      ? [l.shard ? `shard ${l.shard}` : "", Number.isFinite(l.offset) ? `offset ${l.offset}` : "", ...Object.entries(l).filter(([k, v]) => k !== "shard" && k !== "offset" && v).map(([k, v]) => `${k} ${v}`)].filter(Boolean).join(" · ") : "";
    return text ? section("Lineage", h("p.tf-mono", {}, `samples, ${text}`.replace(/^samples, (?=[a-z]+\/)/, ""))) : null;
  }

  function ask(a) {
    if (!a || !canShelve() || (a.kind !== "open" && a.kind !== "acked")) return;
    asking = shelveForm(a, () => { asking = null; built = ""; draw(); });
    built = "";
    draw();
    asking.focus();
  }

  /** What became of the commands sent for this alarm. */
  function progress(a) {
    const ack = sent.of(`acknowledge:${a.id}`), put_aside = sent.of(`shelve:${a.id}`), latest = [ack, put_aside].filter(Boolean).sort((x, y) => y.sinceMs - x.sinceMs)[0];
    const busy = ack && (ack.state === "sending" || ack.state === "waiting" || (ack.state === "confirmed" && (a.kind === "open" || a.kind === "returned")));
    if (button) { button.disabled = Boolean(busy); put(button.firstChild, busy ? "Acknowledging…" : "Acknowledge"); button.lastChild.hidden = Boolean(busy); }
    if (!said) return;
    const text = latest?.said ? `${latest.said} The alarm is as it was.` : latest && latest === put_aside && latest.state === "waiting" ? `Shelving… ${since(Date.now() - latest.sinceMs)}` : "";
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
