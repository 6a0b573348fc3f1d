/** The worst open alarm with its cause, what can be done, score against threshold and the signals that weigh most; others as one line each. */
import { card, clock, everySecond, features, go, h, hasPage, number, put, shape, since, skeleton, title, twin, utc } from "../lib.js";
import { confirm } from "../lib/alarms.js";
import { sent } from "../lib/sent.js";
import { shelveForm } from "../lib/shelve.js";

export default function cause(host) {
  const root = h("div");
  host.append(root);
  let built = "", ages = [], can = false, asking = null, button = null, said = null, worst = null;

  function draw() {
    const alarms = twin.open(), aside = twin.aside();
    worst = twin.worst();
    const key = twin.data ? JSON.stringify([twin.id, alarms, aside, clock.live, can, Boolean(asking)]) : `reading${twin.id}`;
    if (key !== built) {
      if (!worst) asking = null;
      built = key;
      ages = [];
      button = said = null;
      if (!twin.data) { const box = card("Alarm"); box.body.append(skeleton(5, "Reading the alarms…")); root.replaceChildren(box.root); return; }
      root.replaceChildren(worst ? panel(worst, [...alarms.filter((a) => a !== worst), ...aside]) : quiet(aside));
    }
    progress();
  }

  function quiet(aside) {
    const box = card("Alarm", clock.live ? "" : `at ${utc(clock.atMs)}`), last = (twin.data.alarms ?? []).filter((a) => a.returned_ns).sort((a, b) => b.returned_ns - a.returned_ns)[0];
    box.body.append(h("p.tf-pad", {}, aside.length ? "No open alarm but what is put aside." : "No open alarm.", last ? ` The last one returned ${since(clock.nowMs() - last.returned_ns / 1e6)} ago.` : ""), ...aside.map(other));
    return box.root;
  }

  function old(alarm) {
    const node = h("span.tf-note");
    ages.push([node, alarm]);
    put(node, since(clock.nowMs() - alarm.raised_ns / 1e6));
    return node;
  }

  const look = (a) => (a.shelved ? "shelved" : a.acknowledged ? `${a.severity}-ack` : a.severity);

  function other(a) {
    const until = a.shelved ? `shelved until ${utc(a.shelved.until_ns / 1e6)}: ` : "";
    return h("p.tf-other", {}, shape(look(a), 14), h("button.tf-plainline.tf-clip", { type: "button", title: a.cause, onclick: () => go("alarms", { sel: a.id }) }, `${until}${a.cause}`), old(a));
  }

  function panel(alarm, others) {
    const box = card(`${alarm.severity === "alarm" ? "Alarm" : "Warning"} ${alarm.id.slice(0, 8)}`);
    box.note.replaceWith(alarm.acknowledged ? h("span.tf-note", {}, `acknowledged by ${alarm.acknowledged.who}`) : h("span.tf-unacked", {}, can ? "not acknowledged" : "open"));
    box.root.classList.add(alarm.severity === "alarm" ? "tf-red" : "tf-amber");
    box.head.prepend(shape(look(alarm)));
    box.head.append(old(alarm));
    const source = [alarm.score !== null && alarm.score !== undefined ? `Score ${number(alarm.score, 2)}, threshold ${number(alarm.threshold, 2)}`
      : Number.isFinite(alarm.value) ? `Value ${number(alarm.value, 2)}, limit ${number(alarm.threshold, 2)}` : "",
      alarm.source ? `${alarm.kind ?? "source"} ${alarm.source}` : "", alarm.count > 1 ? `${number(alarm.count)} times` : ""].filter(Boolean).join(" · ");
    const first = twin.data.signals.find((s) => s.name === alarm.signal), may = can && clock.live;
    button = may && !alarm.acknowledged ? h("button.tf-button.tf-primary", { type: "button", onclick: () => confirm({ id: alarm.id, twin: twin.id }) }, "Acknowledge") : null;
    said = h("p.tf-hint", { role: "status", hidden: true });
    box.body.append(h("div.tf-causebody", {}, h("p.tf-causetext", {}, alarm.cause || "No cause was given."), source ? h("p.tf-note", {}, source) : null,
      bars(alarm.ranked ?? []), first && Number.isFinite(first.normal_low) && Number.isFinite(first.normal_high)
        ? h("p.tf-hint", {}, `Normal ${title(first.name).toLowerCase()}: ${first.normal_low} to ${first.normal_high} ${first.unit}.`) : null,
      h("div.tf-actions", {}, button, may ? h("button.tf-button", { type: "button", onclick: () => ask(alarm) }, "Shelve…") : null,
        clock.live ? h("button.tf-button", { type: "button", onclick: () => clock.set({ atMs: alarm.raised_ns / 1e6 + clock.spanMs / 5 }) }, `Open at ${utc(alarm.raised_ns / 1e6)}`) : null,
        hasPage("alarms") ? h("button.tf-plain", { type: "button", onclick: () => go("alarms", { sel: alarm.id }) }, "All alarms") : null),
      said, asking?.root ?? null));
    box.body.append(...others.map(other));
    return box.root;
  }

  function ask(alarm) {
    asking = shelveForm({ id: alarm.id, twin: twin.id }, () => { asking = null; draw(); });
    draw();
    asking?.focus();
  }

  /** What became of the commands sent for the alarm shown. */
  function progress() {
    if (!worst || !said) return;
    const ack = sent.of(`acknowledge:${worst.id}`), latest = [ack, sent.of(`shelve:${worst.id}`)].filter(Boolean).sort((x, y) => y.sinceMs - x.sinceMs)[0];
    const busy = ack && ["sending", "waiting", "confirmed"].includes(ack.state) && !worst.acknowledged;
    if (button) { button.disabled = Boolean(busy); put(button, busy ? "Acknowledging…" : "Acknowledge"); }
    const text = latest?.said ? `${latest.said} The alarm is as it was.` : latest && latest !== ack && ["sending", "waiting"].includes(latest.state) ? "Shelving…" : "";
    said.hidden = !text;
    put(said, text);
    said.classList.toggle("tf-warn", Boolean(latest?.said));
  }

  function bars(ranked) {
    if (!ranked.length) return null;
    return h("div.tf-bars2", { role: "list", "aria-label": "Signals that weigh most" }, ...ranked.slice(0, 5).map(([name, share]) => h("div.tf-weigh", { role: "listitem" },
      h("span.tf-clip", { title: name }, title(name)), h("i.tf-track", {}, h("i", { style: `width:${Math.max(0, Math.min(1, share)) * 100}%` })),
      h("span.tf-share", {}, number(share * 100), h("span.tf-unit", {}, "%")))));
  }

  features().then((found) => { can = Boolean(found.commands); draw(); });
  const drops = [twin.watch(draw), sent.onChange(draw)];
  everySecond(host, () => { for (const [node, alarm] of ages) put(node, since(clock.nowMs() - alarm.raised_ns / 1e6)); });
  draw();
  return { destroy: () => drops.forEach((drop) => drop()) };
}
