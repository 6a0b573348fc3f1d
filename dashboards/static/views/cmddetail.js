/** One command: verdict and next step, its life, the gate's checks, effect and audit where they are told; or a new one. */
import { card, clock, everySecond, h, number, put, route, shape, skeleton, title, utcMs } from "../lib.js";
import { commands, line, marks, result, seconds, sent, STAGES, verdict } from "../lib/commands.js";
import { newCommand } from "../lib/newcommand.js";
import { narrow } from "../lib/shared.js";

const WORDS = { effect: "confirmed", refused: "refused", timed_out: "timed out", "": "in progress" };
const BEFORE = { authorised: "before it was authorised", dispatched: "before it was sent", acknowledged: "before it was acknowledged", effect: "before its effect was seen" };
const OUTCOME = { passed: "passed", refused: "refused", failed: "refused", skipped: "" };

export default function cmddetail(host) {
  const root = h("div");
  host.append(root);
  let built = "", form = null, copied = null, verdictText = null;

  const current = () => { const list = commands.data?.list ?? []; return list.find((c) => c.id === route.sel) ?? list[0] ?? null; };

  function draw() {
    const data = commands.data;
    if (data && !data.gate) { built = "none"; root.replaceChildren(); return; }
    if (!data) { if (built !== "reading") { built = "reading"; const box = card("Command"); box.body.append(commands.error ? h("p.tf-pad.tf-note", {}, "Waits for the commands.") : skeleton(8, "Reading the command…", 28)); root.replaceChildren(box.root); } return; }
    if (route.sel?.startsWith("new:")) { if (built !== route.sel) fresh(route.sel); return; }
    const c = current(), wanted = c ? null : route.sel;
    form?.destroy();
    form = null;
    const key = c ? JSON.stringify([c.id, c.stageMs, c.end, c.reason, c.detail, narrow()]) : `nothing${wanted}`;
    if (key !== built) { built = key; root.replaceChildren(c ? panel(c) : nothing()); }
    if (c && !c.end && verdictText) put(verdictText, verdict(c)[0]);
  }

  function nothing() {
    const box = card("Command");
    box.body.append(h("p.tf-pad.tf-note", {}, "No command yet. Its verdict, its checks and its audit are shown here."));
    return box.root;
  }

  function fresh(sel) {
    built = sel;
    form?.destroy();
    const device = sel.slice(4), start = copied ?? { device };
    copied = null;
    form = newCommand(start, (id) => { form?.destroy(); form = null; built = ""; route.select(id); commands.again(); draw(); });
    const box = card("New command", "goes to the gate, which decides");
    box.body.append(form.root);
    root.replaceChildren(box.root);
    form.focus();
  }

  const section = (name, ...inside) => h("div.tf-part2", {}, h("h3.tf-sub2", {}, name), ...inside);

  function panel(c) {
    const [words, next] = verdict(c), box = card(c.device), tone = c.end === "timed_out" ? ".tf-bad3" : "";
    const mark = { effect: "passed", refused: "refused", timed_out: "warn", "": "waiting" }[c.end];
    box.head.prepend(shape(mark, 16));
    put(box.note, c.id);
    box.note.classList.add("tf-clip");
    box.head.append(h(`span.tf-detailstate${tone}`, {}, WORDS[c.end]));
    const audit = c.audit ?? c.detail?.audit;
    verdictText = h("p.tf-causetext", {}, words);
    box.body.append(h("div.tf-causebody", {}, verdictText, next ? h("p.tf-hint", {}, `Next: ${next}`) : null,
      h("p.tf-mono", {}, line(c)), c.why ? h("p.tf-note", {}, `Asked for because: ${c.why}`) : null,
      section("Life", life(c)), checks(c), effect(c),
      audit ? section("Audit", h("p.tf-mono", {}, typeof audit === "string" ? audit : Object.entries(audit).map(([k, v]) => `${k} ${v}`).join(" · "))) : null,
      h("div.tf-actions", {}, h("button.tf-button", { type: "button", onclick: () => { copied = { device: c.device, verb: c.verb, arguments: c.arguments, why: c.why }; route.select(`new:${c.device}`); draw(); } }, "Copy as new command"),
        narrow() ? h("button.tf-plain", { type: "button", onclick: () => document.querySelector(".st-key-v_cmdlist")?.scrollIntoView() }, "Back to the list") : null)));
    return box.root;
  }

  function life(c) {
    const states = marks(c);
    return h("ol.tf-life", {}, ...STAGES.map((stage, i) => {
      const ms = c.stageMs[stage], state = { done: "passed", refused: "refused", warn: "warn", waiting: "waiting", pending: "pending" }[states[i]];
      const ended = states[i] === "refused" || states[i] === "warn", before = c.stageMs[STAGES[i - 1]];
      const text = ms ? (i === 0 ? (c.issuer ? `by ${c.issuer}` : "") : before ? `after ${seconds(ms - before)}` : "") : ended ? BEFORE[stage] : states[i] === "waiting" ? "waits" : "not reached";
      return h(`li${states[i] === "pending" ? ".tf-todo" : ""}`, {}, shape(state, 12), h("time.tf-mono", {}, ms ? utcMs(ms) : ended ? utcMs(c.endMs) : "–"), h("span", {}, h("b", {}, ended && !ms ? title(result(c)[1]) : title(stage)), ` ${text}`));
    }));
  }

  /** The gate's checks in order: {name, outcome: passed|refused|skipped, said, took_ns}. */
  function checks(c) {
    const list = c.checks ?? c.detail?.checks;
    if (!Array.isArray(list) || !list.length) return null;
    return section("Gate, in order", h("div.tf-checks", { role: "list" }, ...list.map((k) => h(`div.tf-check${k.outcome === "refused" || k.outcome === "failed" ? ".tf-stopped" : ""}`, { role: "listitem" },
      OUTCOME[k.outcome] ? shape(OUTCOME[k.outcome], 12) : h("span.tf-note", {}, "–"), h("span", {}, title(k.name)), h("span.tf-checksaid", {}, k.said ?? ""),
      h("span.tf-took", {}, Number.isFinite(k.took_ns) ? [number(k.took_ns / 1e6, 2), h("span.tf-unit", {}, "ms")] : "–")))));
  }

  /** What was wanted against what the twin reports: {desired, reported} by name. */
  function effect(c) {
    const e = c.effect ?? c.detail?.effect;
    if (!e || typeof e !== "object") return null;
    return section("Effect", h("p", {}, ...Object.entries(e).flatMap(([k, v]) => [`${title(k)} `, h("b", {}, typeof v === "object" ? JSON.stringify(v) : String(v)), " "])));
  }

  const drops = [commands.watch(draw), route.onChange(draw), clock.onChange(draw)];
  everySecond(host, draw);
  draw();
  return { destroy: () => { drops.forEach((drop) => drop()); form?.destroy(); if (sent.busy === 0) copied = null; } };
}
