/** Commands, newest first: five stages as a line of marks, what came of it in words, who asked, how long ago. */
import { card, clock, empty, everySecond, go, h, keys, number, plural, put, route, shape, since, skeleton, title } from "../lib.js";
import { commands, line, marks, result, STAGES } from "../lib/commands.js";
import { sent } from "../lib/sent.js";
import { narrow, problem, saveCsv, short, stepper } from "../lib/shared.js";

const DAY_MS = 86_400_000, STEP = 50;
const SHAPES = { done: ["passed", "Done"], late: ["passed", "Late"], skipped: ["skipped", "Not needed"], refused: ["refused", "Refused"], warn: ["warn", "No answer"], waiting: ["waiting", "In progress"], pending: ["pending", "Not reached"] };

export default function cmdlist(host) {
  const audit = h("button.tf-plain", { type: "button", onclick: csv }, "CSV");
  const make = h("button.tf-button.tf-primary", { type: "button", onclick: () => order() }, "New command", h("kbd", {}, "N"));
  const box = card("Commands", "", audit, make), list = h("div.tf-list", { role: "listbox", "aria-label": "Commands" }), fault = problem(commands, "The commands cannot be read");
  const heads = h("div.tf-cmdrow.tf-cmdhead", { "aria-hidden": true }, h("span"), h("span", {}, "Twin and command"),
    h("span.tf-stages", {}, ...STAGES.map((s) => h("span", {}, title(s)))), h("span", {}, "Result"), h("span", {}, "Age"));
  const more = h("button.tf-fold", { type: "button", hidden: true, onclick: () => { shown += STEP; draw(); } });
  const stuck = h("p.tf-hint.tf-warn.tf-stuck", { role: "status", hidden: true });
  box.body.append(stuck, heads, list, more);
  host.append(fault.root, box.root);
  const rows = new Map();
  let shown = STEP, order_ = null, noGate = false;

  function row(c) {
    const id = h("span.tf-mono.tf-cmdid", { title: c.id }, short(c.id)), name = h("b"), verb = h("span.tf-mono.tf-verb"), line_ = h("div.tf-stages", { role: "img" });
    const said = h("p.tf-result"), by = h("span.tf-by"), old = h("span.tf-old2");
    const root = h("div.tf-cmdrow", { role: "option", tabindex: -1, "data-key": c.id, onclick: () => pick(c.id), onkeydown: (e) => { if (e.key === "Enter") go("twin", { id: c.device }); } },
      id, h("div.tf-who", {}, name, verb), line_, h("div.tf-cmdsaid", {}, said, by), old);
    return { root, name, verb, line: line_, said, by, old, marks: "" };
  }

  function fill(c) {
    if (!rows.has(c.id)) rows.set(c.id, row(c));
    const r = rows.get(c.id), now = marks(c), [tone, strong, text] = result(c);
    put(r.name, c.device);
    put(r.verb, line(c));
    r.verb.title = line(c);
    if (r.marks !== now.join()) {
      r.marks = now.join();
      r.line.setAttribute("aria-label", now.map((m, i) => `${STAGES[i]}: ${SHAPES[m][1].toLowerCase()}`).join(", "));
      r.line.replaceChildren(...now.map((m, i) => h(`span.tf-stage${i && (m === "done" || m === "skipped") ? ".tf-reached" : ""}${m === "skipped" ? ".tf-skip" : ""}`, {},
        m === "done" ? h("i.tf-tick", {}, shape("passed", 9, "Done")) : m === "skipped" ? null : shape(...[SHAPES[m][0], 14, SHAPES[m][1]]))));
    }
    const whole = strong ? `${strong}${text ? ": " : ""}${text}` : text;
    if (r.said.textContent !== whole) r.said.replaceChildren(...(strong ? [h("b", {}, strong), text ? `: ${text}` : ""] : [text]));
    r.said.className = `tf-result${tone === "warn" ? " tf-warn" : tone === "quiet" ? " tf-dim" : ""}`;
    put(r.by, c.by ? `by ${c.by}` : "");
    put(r.old, since(clock.nowMs() - c.ms));
    const on = current() === c.id;
    r.root.classList.toggle("tf-picked", on);
    r.root.setAttribute("aria-selected", on);
    r.root.tabIndex = on ? 0 : -1;
    return r.root;
  }

  const all = () => commands.data?.list ?? [];
  const current = () => (all().some((c) => c.id === route.sel) ? route.sel : route.sel?.startsWith("new:") || sent.asked(route.sel) ? null : all()[0]?.id);

  function draw() {
    const data = commands.data;
    fault.draw();
    box.root.hidden = !data && Boolean(commands.error);
    host.closest(".st-key-tf_commands")?.classList.toggle("tf-nogate", Boolean(data && !data.gate));
    audit.hidden = !data?.list.length;
    make.hidden = !data?.gate;
    heads.hidden = !data?.list.length;
    if (!data) { if (!list.firstChild) list.append(skeleton(6, "", 58)); put(list.querySelector("p"), `Reading the commands… ${since(commands.waitedMs())}`); return; }
    if (!data.gate) { if (!noGate) { noGate = true; order_ = null; put(box.note, ""); list.replaceChildren(gateless()); } return; }
    noGate = false;
    const gate = data.can.gate;
    stuck.hidden = !gate?.stalled;
    put(stuck, gate?.stalled ? `The gate takes no request; ${plural(gate.waiting, "record")} wait${gate.waiting === 1 ? "s" : ""}. A request expires 30 s after it was asked, so nothing is sent late. The gate is started again by itself; see: twinflow status` : "");
    const some = all().slice(0, shown), next = some.map((c) => c.id).join(), elements = some.map(fill);
    if (next !== order_) {
      const focused = list.contains(document.activeElement) ? document.activeElement : null;
      order_ = next;
      list.replaceChildren(...(elements.length ? elements : [empty("No command yet", "Ask for one with New command, or let a rule of a twin type ask. Its life is shown here, stage by stage.")]));
      focused?.isConnected && focused.focus({ preventScroll: true });
    }
    const left = all().length - some.length;
    more.hidden = left <= 0;
    put(more, `${number(left)} more    Show`);
    const day = all().filter((c) => c.ms > clock.nowMs() - DAY_MS), n = (end) => day.filter((c) => c.end === end).length;
    put(box.note, day.length ? `${number(all().filter((c) => !c.end).length)} open · 24 h: ${number(n("effect"))} confirmed, ${number(n("refused"))} refused, ${n("failed") ? `${number(n("failed"))} failed, ` : ""}${number(n("timed_out"))} timed out` : "");
  }

  function gateless() {
    return empty("This stack runs no command gate", "Every command goes through one gate that checks it, sends it, and waits for the device's answer. It does not run here, so nothing can be sent to a device, and Acknowledge, Shelve and Stop are not shown.",
      ["twinflow status"], "This page fills by itself when the gate runs.");
  }

  function pick(id) {
    route.select(id);
    draw();
    if (narrow()) document.querySelector(".st-key-v_cmddetail")?.scrollIntoView({ block: "start" });
  }

  function order() {
    if (!commands.data?.gate) return;
    pick(`new:${all().find((c) => c.id === route.sel)?.device ?? route.id ?? ""}`);
  }

  function csv() {
    const from = clock.nowMs() - clock.spanMs, iso = (ms) => (ms ? new Date(ms).toISOString() : "");
    saveCsv("commands.csv", ["id", "device", "verb", "arguments", "issuer", "why", ...STAGES.map((s) => `${s}_utc`), "end", "end_utc", "reason", "late"],
      all().filter((c) => c.ms >= from).map((c) => [c.id, c.device, c.verb, JSON.stringify(c.arguments ?? {}), c.issuer, c.why, ...STAGES.map((s) => iso(c.stageMs[s])), c.end, c.end ? iso(c.endMs) : "", c.reason, c.late]));
  }

  const step = stepper(() => [...list.querySelectorAll(".tf-cmdrow")], current, (id) => { route.select(id); draw(); });
  keys({ j: ["next row", () => step(1)], k: ["row before", () => step(-1)], n: ["new command", order] }, host);
  const drops = [commands.watch(draw), route.onChange(draw), clock.onChange(draw)];
  everySecond(host, draw);
  draw();
  return { destroy: () => drops.forEach((drop) => drop()) };
}
