/** All twins by site: one mark each, worst first; hover names it, a click opens it. */
import { fleet, go, h, card, number, paintShape, shape, token } from "../lib.js";

const BIG = 11, BIG_PITCH = 14, SMALL = 4, SMALL_PITCH = 6, FEW = 120, TOKENS = ["alarm", "warn", "warn-fill", "on-alarm", "ok", "line2", "ink3", "ink2", "ink1", "sel"];
const WORDS = { alarm: "Alarm", warn: "Warning", offline: "Offline", ok: "Normal" };
const siteOf = (t) => String(t.site || "site").split("/")[0].trim();

export default function sites(host) {
  const legend = h("span.tf-legend", {}, ...Object.entries(WORDS).flatMap(([state, word]) => [shape(state, 12), h("span", {}, word)]));
  const box = card("All twins by site", "one mark is one twin; worst first", legend), grid = h("div.tf-sites");
  const tip = h("div.tf-tip", { hidden: true });
  box.body.append(grid, tip);
  host.append(box.root);
  const columns = new Map();
  let signature = "", colours = {};

  function column(name) {
    const count = h("span.tf-note"), states = h("span.tf-sitecounts"), canvas = h("canvas", { tabindex: 0, role: "img" });
    const root = h("section.tf-site", {}, h("header", {}, h("h3.tf-clip", {}, name), count, h("span.tf-fill"), states), canvas);
    const made = { root, count, states, canvas, marks: [], cursor: -1 };
    const over = (event) => point(made, made.marks.findIndex((m) => event.offsetX >= m.x - 1 && event.offsetX < m.x + m.size + 2
      && event.offsetY >= m.y - 1 && event.offsetY < m.y + m.size + 2));
    canvas.addEventListener("pointermove", over);
    canvas.addEventListener("pointerleave", () => point(made, -1));
    canvas.addEventListener("blur", () => point(made, -1));
    canvas.addEventListener("click", (event) => { over(event); open(made); });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) point(made, Math.max(0, Math.min(made.marks.length - 1, made.cursor + step)));
      else if (event.key === "Enter") open(made);
      else return;
      event.preventDefault();
    });
    return made;
  }

  function open(c) { const mark = c.marks[c.cursor]; if (mark) go("twin", { id: mark.twin.id }); }

  function point(c, index) {
    if (c.cursor === index) return;
    c.cursor = index;
    paint(c);
    const mark = c.marks[index];
    tip.hidden = !mark;
    c.canvas.style.cursor = mark ? "pointer" : "";
    if (!mark) return;
    tip.replaceChildren(h("b", {}, mark.twin.id), ` ${WORDS[mark.twin.state]}`, mark.twin.cause ? h("br") : null, mark.twin.cause ?? "");
    const at = c.canvas.getBoundingClientRect(), base = box.body.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(at.left - base.left + mark.x, base.width - 270))}px`;
    tip.style.top = `${at.top - base.top + mark.y + mark.size + 4}px`;
  }

  function place(c, list) {
    const width = c.canvas.clientWidth || 200, perBig = Math.max(1, Math.floor(width / BIG_PITCH)), per = Math.max(1, Math.floor(width / SMALL_PITCH));
    const few = list.length <= FEW, bad = few ? list : list.filter((t) => t.state !== "ok"), good = few ? [] : list.filter((t) => t.state === "ok");
    const top = Math.ceil(bad.length / perBig) * BIG_PITCH;
    c.marks = [...bad.map((twin, i) => ({ twin, size: BIG, x: (i % perBig) * BIG_PITCH, y: Math.floor(i / perBig) * BIG_PITCH })),
      ...good.map((twin, i) => ({ twin, size: SMALL, x: (i % per) * SMALL_PITCH, y: top + Math.floor(i / per) * SMALL_PITCH }))];
    const height = Math.max(24, top + Math.ceil(good.length / per) * SMALL_PITCH);
    const ratio = devicePixelRatio || 1;
    c.canvas.width = width * ratio;
    c.canvas.height = height * ratio;
    c.canvas.style.height = `${height}px`;
    paint(c);
  }

  function paint(c) {
    const ctx = c.canvas.getContext("2d"), ratio = devicePixelRatio || 1;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, c.canvas.width, c.canvas.height);
    c.marks.forEach((m, i) => {
      if (m.size === SMALL) { ctx.fillStyle = colours.ok; ctx.fillRect(m.x, m.y, SMALL, SMALL); }
      else paintShape(ctx, m.twin.unacked === 0 && ["alarm", "warn"].includes(m.twin.state) ? `${m.twin.state}-ack` : m.twin.state, m.x, m.y, BIG, (name) => colours[name]);
      if (i === c.cursor) { ctx.strokeStyle = colours.sel; ctx.lineWidth = 1.5; ctx.strokeRect(m.x - 1, m.y - 1, m.size + 2, m.size + 2); }
    });
  }

  function draw(force = false) {
    const list = fleet.twins ?? [];
    box.root.hidden = !list.length && Boolean(fleet.error);
    const next = list.map((t) => `${t.id}${t.state}${t.unacked}`).join();
    if (!force && next === signature) return;
    signature = next;
    colours = Object.fromEntries(TOKENS.map((name) => [name, token(host, name)]));
    const groups = Map.groupBy ? Map.groupBy(list, siteOf) : list.reduce((m, t) => m.set(siteOf(t), [...(m.get(siteOf(t)) ?? []), t]), new Map());
    for (const [name, twins] of groups) {
      if (!columns.has(name)) { columns.set(name, column(name)); grid.append(columns.get(name).root); }
      const c = columns.get(name), of = (state) => twins.filter((t) => t.state === state).length;
      c.count.textContent = number(twins.length);
      c.states.replaceChildren(...["alarm", "warn", "offline"].filter(of).flatMap((s) => [shape(s, 12), h("b", {}, number(of(s)))]));
      c.canvas.setAttribute("aria-label", `${name}: ${Object.entries(WORDS).map(([s, w]) => `${w} ${of(s)}`).join(", ")}`);
    }
    for (const [name, c] of columns) if (!groups.has(name)) { c.root.remove(); columns.delete(name); }
    for (const [name, twins] of groups) place(columns.get(name), twins);
  }

  const drop = fleet.watch(() => draw());
  let width = 0;
  const resized = new ResizeObserver(() => { if (grid.clientWidth !== width) { width = grid.clientWidth; draw(true); } });
  resized.observe(grid);
  const scheme = new MutationObserver(() => draw(true));
  scheme.observe(document.documentElement, { attributeFilter: ["style"] });
  return { destroy: () => { drop(); resized.disconnect(); scheme.disconnect(); } };
}
