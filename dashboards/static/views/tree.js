/** Parts of the twin: its components with the worst state of their signals. A click charts the first signal of a part. */
import { card, everySecond, h, plural, put, shape, skeleton, title, twin } from "../lib.js";
import { judge } from "../lib/gauge.js";

const RANK = ["alarm", "alarm-ack", "warn", "warn-ack", "offline", "ok"];

export default function tree(host) {
  const box = card("Parts", ""), list = h("div.tf-tree", { role: "tree", "aria-label": "Parts" });
  box.body.append(list);
  host.append(box.root);
  let built = "", rows = [];

  /** Own signals and those of parts below. */
  const below = (path) => twin.data.signals.filter((s) => path === "" || s.component === path || (s.component ?? "").startsWith(`${path}/`));

  function stateOf(path) {
    const open = new Map(twin.open().filter((a) => a.signal).map((a) => [a.signal, a.acknowledged ? `${a.severity}-ack` : a.severity]));
    const states = below(path).map((s) => {
      const { value, stale } = twin.at(s);
      return stale ? "offline" : open.get(s.name) ?? (judge(s, value) || "ok");
    });
    if (!states.length) return "pending";
    const best = states.every((s) => s === "offline") ? "offline" : RANK.find((s) => s !== "offline" && states.includes(s));
    return best ?? "ok";
  }

  function draw() {
    if (!twin.data) { if (built !== "none") { built = "none"; rows = []; list.replaceChildren(skeleton(4, "Reading the parts…", 24)); } return; }
    const parts = (twin.data.components ?? []).map((c) => (typeof c === "string" ? { path: c } : c)).filter((c) => c.path);
    const key = JSON.stringify([twin.id, parts]);
    if (key !== built) {
      built = key;
      put(box.note, parts.length ? "worst state of the signals" : "the definition names none");
      rows = [{ path: "", title: twin.id, depth: 0 }, ...parts.map((c) => ({ path: c.path, title: c.title || title(c.path.split("/").at(-1)), depth: c.path.split("/").length }))].map((c) => {
        const mark = h("span"), count = h("span.tf-note");
        const root = h("button.tf-part", { type: "button", role: "treeitem", "aria-level": c.depth + 1, "aria-current": c.depth === 0 && "true", style: `padding-left:${12 + 16 * c.depth}px`,
          onclick: () => { const first = twin.data.signals.find((s) => s.component === c.path) ?? below(c.path)[0]; if (first && c.path) twin.pick(first.name); } },
        mark, h("span.tf-clip", { title: c.path }, c.title), h("span.tf-fill"), count);
        return { ...c, mark, count, root, state: "" };
      });
      list.replaceChildren(...rows.map((r) => r.root));
    }
    for (const r of rows) {
      const state = stateOf(r.path), n = below(r.path).length;
      if (state !== r.state) { r.state = state; r.mark.replaceChildren(shape(state, 14, state === "pending" ? "No signal" : undefined)); }
      put(r.count, n ? plural(n, "signal") : "no signal");
    }
  }

  const drop = twin.watch(draw);
  everySecond(host, draw);
  draw();
  return { destroy: drop };
}
