/** The worst open alarm with its cause, score against threshold and the signals that weigh most; others as one line each. */
import { card, clock, everySecond, go, h, hasPage, number, put, shape, since, skeleton, title, twin, utc } from "../lib.js";

export default function cause(host) {
  const root = h("div");
  host.append(root);
  let built = "", ages = [];

  function draw() {
    const alarms = twin.open(), worst = twin.worst();
    const key = twin.data ? JSON.stringify([twin.id, alarms, clock.live]) : `reading${twin.id}`;
    if (key === built) return;
    built = key;
    ages = [];
    if (!twin.data) { const box = card("Alarm"); box.body.append(skeleton(5, "Reading the alarms…")); root.replaceChildren(box.root); return; }
    root.replaceChildren(worst ? panel(worst, alarms.filter((a) => a !== worst)) : quiet());
  }

  function quiet() {
    const box = card("Alarm", clock.live ? "" : `at ${utc(clock.atMs)}`), last = (twin.data.alarms ?? []).filter((a) => a.returned_ns).sort((a, b) => b.returned_ns - a.returned_ns)[0];
    box.body.append(h("p.tf-pad", {}, "No open alarm.", last ? ` The last one returned ${since(clock.nowMs() - last.returned_ns / 1e6)} ago.` : ""));
    return box.root;
  }

  function old(alarm) {
    const node = h("span.tf-note");
    ages.push([node, alarm]);
    put(node, since(clock.nowMs() - alarm.raised_ns / 1e6));
    return node;
  }

  function panel(alarm, others) {
    const box = card(`${alarm.severity === "alarm" ? "Alarm" : "Warning"} ${alarm.id.slice(0, 8)}`);
    const said = alarm.acknowledged ? h("span.tf-note", {}, `acknowledged by ${alarm.acknowledged.who}`) : h("span.tf-unacked", {}, "not acknowledged");
    box.note.replaceWith(said);
    box.root.classList.add(alarm.severity === "alarm" ? "tf-red" : "tf-amber");
    box.head.prepend(shape(alarm.acknowledged ? `${alarm.severity}-ack` : alarm.severity));
    box.head.append(old(alarm));
    const source = [alarm.score !== null && alarm.score !== undefined ? `Score ${number(alarm.score, 2)}, threshold ${number(alarm.threshold, 2)}`
      : Number.isFinite(alarm.value) ? `Value ${number(alarm.value, 2)}, limit ${number(alarm.threshold, 2)}` : "",
      alarm.source ? `${alarm.kind ?? "source"} ${alarm.source}` : "", alarm.count > 1 ? `${number(alarm.count)} times` : ""].filter(Boolean).join(" · ");
    const first = twin.data.signals.find((s) => s.name === alarm.signal);
    box.body.append(h("div.tf-causebody", {}, h("p.tf-causetext", {}, alarm.cause || "No cause was given."), source ? h("p.tf-note", {}, source) : null,
      bars(alarm.ranked ?? []), first && Number.isFinite(first.normal_low) && Number.isFinite(first.normal_high)
        ? h("p.tf-hint", {}, `Normal ${title(first.name).toLowerCase()}: ${first.normal_low} to ${first.normal_high} ${first.unit}.`) : null,
      h("div.tf-actions", {}, h("button.tf-button", { type: "button", onclick: () => clock.set({ atMs: alarm.raised_ns / 1e6 + clock.spanMs / 5 }) }, `Open at ${utc(alarm.raised_ns / 1e6)}`),
        hasPage("alarms") ? h("button.tf-plain", { type: "button", onclick: () => go("alarms", { sel: alarm.id }) }, "All alarms") : null)));
    for (const a of others) box.body.append(h("p.tf-other", {}, shape(a.acknowledged ? `${a.severity}-ack` : a.severity, 14), h("span.tf-clip", { title: a.cause }, a.cause), old(a)));
    return box.root;
  }

  function bars(ranked) {
    if (!ranked.length) return null;
    return h("div.tf-bars2", { role: "list", "aria-label": "Signals that weigh most" }, ...ranked.slice(0, 5).map(([name, share]) => h("div.tf-weigh", { role: "listitem" },
      h("span.tf-clip", { title: name }, title(name)), h("i.tf-track", {}, h("i", { style: `width:${Math.max(0, Math.min(1, share)) * 100}%` })),
      h("span.tf-share", {}, number(share * 100), h("span.tf-unit", {}, "%")))));
  }

  const drop = twin.watch(draw);
  everySecond(host, () => { for (const [node, alarm] of ages) put(node, since(clock.nowMs() - alarm.raised_ns / 1e6)); });
  draw();
  return { destroy: drop };
}
