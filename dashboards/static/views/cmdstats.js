/** How commands of 24 h ended, by verb. */
import { card, clock, everySecond, h, number, put } from "../lib.js";
import { commands, seconds } from "../lib/commands.js";

const DAY_MS = 86_400_000, MOST = 12;

export default function cmdstats(host) {
  const box = card("By verb, 24 h", "how commands ended"), rows = new Map(), body = h("tbody"), quiet = h("p.tf-note.tf-pad", { hidden: true }, "No command in the last 24 h.");
  const table = h("table.tf-table.tf-verbs", {}, h("thead", {}, h("tr", {}, ...["Verb", "Requested", "", "Confirmed", "Refused", "Failed", "Timed out", "p95 to effect"].map((name, i) => h(i === 0 || i === 2 ? "th" : "th.tf-num", { scope: "col" }, name)))), body);
  box.body.append(table, quiet);
  host.append(box.root);

  function row(verb) {
    const cell = () => h("td.tf-num"), bar = h("div.tf-split", {}, h("i.tf-split1"), h("i.tf-split2"), h("i.tf-split3"), h("i.tf-split3"));
    const r = { all: cell(), done: cell(), refused: cell(), failed: cell(), late: cell(), p95: cell(), bar };
    r.root = h("tr", { "data-verb": verb }, h("th.tf-mono", { scope: "row" }, verb), r.all, h("td.tf-wide", {}, bar), r.done, r.refused, r.failed, r.late, r.p95);
    return r;
  }

  function draw() {
    box.root.hidden = !commands.data?.gate;
    const day = (commands.data?.list ?? []).filter((c) => c.ms > clock.nowMs() - DAY_MS), byVerb = new Map();
    for (const c of day) byVerb.set(c.verb, [...(byVerb.get(c.verb) ?? []), c]);
    table.hidden = !byVerb.size;
    quiet.hidden = byVerb.size > 0;
    const list = [...byVerb].sort((a, b) => b[1].length - a[1].length).slice(0, MOST), most = Math.max(1, ...list.map(([, l]) => l.length));
    for (const [verb, l] of list) {
      if (!rows.has(verb)) rows.set(verb, row(verb));
      const r = rows.get(verb), of = (end) => l.filter((c) => c.end === end), n = { done: of("effect").length, refused: of("refused").length, failed: of("failed").length, late: of("timed_out").length };
      const times = of("effect").map((c) => c.endMs - c.ms).sort((a, b) => a - b);
      put(r.all, number(l.length));
      for (const [name, count] of Object.entries(n)) {
        put(r[name], number(count));
        r[name].className = `tf-num${count === 0 ? " tf-dim" : name === "late" || name === "failed" ? " tf-warn" : name === "refused" ? " tf-strong" : ""}`;
      }
      put(r.p95, times.length ? seconds(times[Math.min(times.length - 1, Math.floor(0.95 * times.length))]) : "–");
      [l.length - n.refused - n.failed - n.late, n.refused, n.failed, n.late].forEach((count, i) => { Object.assign(r.bar.children[i].style, { width: `${(100 * count) / most}%`, display: count ? "" : "none" }); });
    }
    const nodes = list.map(([verb]) => rows.get(verb).root);
    if (nodes.some((node, i) => body.children[i] !== node) || body.children.length !== nodes.length) body.replaceChildren(...nodes);
  }

  const drops = [commands.watch(draw), clock.onChange(draw)];
  everySecond(host, draw);
  draw();
  return { destroy: () => drops.forEach((drop) => drop()) };
}
