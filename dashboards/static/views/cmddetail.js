/** One command: verdict and next step, its life with times, the gate's checks in order; or the form of a new one. */
import { card, clock, everySecond, go, h, put, route, shape, skeleton, title, utcMs } from "../lib.js";
import { checkList } from "../lib/checks.js";
import { commands, line, marks, result, seconds, STAGES, verdict } from "../lib/commands.js";
import { newCommand } from "../lib/newcommand.js";
import { sent } from "../lib/sent.js";
import { narrow, short } from "../lib/shared.js";

const WORDS = { effect: "confirmed", refused: "refused", timed_out: "timed out", failed: "failed", "": "in progress" };
const MARKS = { effect: "passed", refused: "refused", timed_out: "warn", failed: "warn", "": "waiting" };
const BEFORE = { authorised: "before it was authorised", dispatched: "before it was sent", acknowledged: "before it was acknowledged", effect: "before its effect was seen" };
const SHAPES = { done: "passed", late: "passed", refused: "refused", warn: "warn", waiting: "waiting", pending: "pending", skipped: "pending" };

export default function cmddetail(host) {
  const root = h("div");
  host.append(root);
  let built = "", form = null, copied = null, verdictText = null;

  const current = () => { const list = commands.data?.list ?? []; return list.find((c) => c.id === route.sel) ?? (sent.asked(route.sel) ? null : list[0] ?? null); };

  function draw() {
    const data = commands.data;
    if (data && !data.gate) { built = "none"; root.replaceChildren(); return; }
    if (!data) { if (built !== "reading") { built = "reading"; const box = card("Command"); box.body.append(commands.error ? h("p.tf-pad.tf-note", {}, "Waits for the commands.") : skeleton(8, "Reading the command…", 28)); root.replaceChildren(box.root); } return; }
    if (route.sel?.startsWith("new:")) { if (built !== route.sel) fresh(route.sel); return; }
    const c = current(), wanted = c ? null : route.sel;
    form?.destroy();
    form = null;
    const key = c ? JSON.stringify([c.id, c.stageMs, c.end, c.reason, c.late, c.detail, narrow()]) : `nothing${wanted}`;
    if (key !== built) { built = key; root.replaceChildren(c ? panel(c) : nothing(wanted)); }
    if (c && !c.end && verdictText) put(verdictText, verdict(c)[0]);
  }

  function nothing(wanted) {
    const box = card("Command"), asked = sent.asked(wanted);
    box.body.append(h("p.tf-pad.tf-note", {}, asked ? `${wanted} was handed over; the gate has not told of it yet.` : "No command yet. Its verdict, its life and its checks are shown here."));
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
    const [words, next] = verdict(c), box = card(c.device), tone = c.end === "timed_out" || c.end === "failed" ? ".tf-bad3" : "", checks = checkList(c.detail), states = marks(c);
    box.head.prepend(shape(states.includes("refused") ? "refused" : MARKS[c.end], 16));
    put(box.note, short(c.id));
    box.note.title = `Id ${c.id}`;
    box.head.append(h(`span.tf-detailstate${states.includes("refused") ? "" : tone}`, {}, WORDS[c.end]));
    verdictText = h("p.tf-causetext", {}, words);
    box.body.append(h("div.tf-causebody", {}, verdictText, next ? h("p.tf-hint", {}, `Next: ${next}`) : null,
      h("p.tf-mono", {}, line(c)), c.why ? h("p.tf-note", {}, `Asked for because: ${c.why}`) : null,
      section("Life", life(c, states)), checks ? section("Gate, in order", checks) : null,
      h("div.tf-actions", {}, c.ofAlarm ? null : h("button.tf-button", { type: "button", onclick: () => { copied = { device: c.device, verb: c.verb, arguments: c.arguments, why: c.why }; route.select(`new:${c.device}`); draw(); } }, "Copy as new command"),
        c.ofAlarm && c.arguments?.alarm ? h("button.tf-button", { type: "button", onclick: () => go("alarms", { sel: c.arguments.alarm }) }, "Show the alarm") : h("button.tf-plain", { type: "button", onclick: () => go("twin", { id: c.device }) }, `Show ${c.device}`),
        narrow() ? h("button.tf-plain", { type: "button", onclick: () => document.querySelector(".st-key-v_cmdlist")?.scrollIntoView() }, "Back to the list") : null)));
    return box.root;
  }

  function life(c, states) {
    return h("ol.tf-life", {}, ...STAGES.map((stage, i) => {
      if (states[i] === "skipped") return null;
      const ms = c.stageMs[stage], over = states[i] === "refused" || states[i] === "warn", before = c.stageMs[STAGES[i - 1]];
      const text = states[i] === "late" ? c.late || "late" : ms ? (i === 0 ? (c.by ? `by ${c.by}` : "") : before ? (ms - before < 1 ? "at once" : `after ${seconds(ms - before)}`) : "") : over ? BEFORE[stage] : states[i] === "waiting" ? "waits" : "not reached";
      return h(`li${states[i] === "pending" ? ".tf-todo" : ""}`, {}, shape(SHAPES[states[i]], 12), h("time.tf-mono", {}, ms ? utcMs(ms) : over ? utcMs(c.endMs) : "–"), h("span", {}, h("b", {}, over && !ms ? title(result(c)[1]) : title(stage)), ` ${text}`));
    }));
  }

  const drops = [commands.watch(draw), route.onChange(draw), clock.onChange(draw)];
  everySecond(host, draw);
  draw();
  return { destroy: () => { drops.forEach((drop) => drop()); form?.destroy(); } };
}
