/** The flow as a picture: boxes run, pills are topics, a line's width is the logarithm of its rate; on phones a list. */
import { card, empty, everySecond, fleet, h, number, plural, put, shape, skeleton } from "../lib.js";
import { layout } from "../lib/graph.js";
import { frozen, perSecond, picture, pipeline, sentence } from "../lib/pipeline.js";

const SVG = "http://www.w3.org/2000/svg";

function s(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export default function flow(host) {
  const said = h("span.tf-flowsaid", { role: "status" }), legend = h("span.tf-note.tf-flowlegend", {}, "line width: records/s · dashed amber: waits");
  const box = card("Flow graph", "", legend), area = h("div.tf-flow"), list = h("div.tf-flowlist", { role: "list", "aria-label": "What runs" });
  box.note.replaceWith(said);
  box.body.append(area, list);
  host.append(box.root);
  area.append(skeleton(4, "Reading the flows…", 60));
  let built = "", boxes = new Map(), lines = [], rows = new Map(), mark = "";

  function node(n) {
    const head = s("text", { x: n.kind === "topic" ? 13 : 11, y: n.kind === "topic" ? 17 : 23, class: n.kind === "topic" ? "tf-gt" : "tf-gb" }), right = s("text", { x: n.w - (n.kind === "topic" ? 12 : 11), y: n.kind === "topic" ? 17 : 23, "text-anchor": "end", class: "tf-gn" });
    const under = s("text", { x: 11, y: 44, class: "tf-gn" }), track = s("rect", { x: 11, y: 37, width: n.w - 22, height: 8, rx: 2, class: "tf-gtrack" }), fill = s("rect", { x: 11, y: 37, height: 8, rx: 2, class: "tf-gfill" });
    const name = n.name.length > 17 && n.kind === "topic" ? `${n.name.slice(0, 16)}…` : n.name;
    head.textContent = name;
    const root = s("g", { transform: `translate(${n.x} ${n.y})`, class: `tf-g tf-g-${n.kind}`, "data-node": n.name },
      s("rect", { width: n.w, height: n.h, rx: n.kind === "topic" ? n.h / 2 : 5, class: "tf-gbox" }), head, right, ...(n.kind === "topic" ? [] : [track, fill, under]));
    return { root, right, under, track, fill, width: n.w };
  }

  function build(drawn) {
    const placed = layout(drawn.nodes, drawn.edges, Math.max(area.clientWidth, 600));
    boxes = new Map(placed.nodes.map((n) => [n.name, node(n)]));
    lines = placed.lines.map((l) => ({ ...l, path: s("path", { d: l.d, class: "tf-gline" }) }));
    area.replaceChildren(s("svg", { viewBox: `0 0 ${placed.width} ${placed.height}`, width: "100%", height: placed.height, role: "img", "aria-labelledby": "tf-flowname" },
      s("title", { id: "tf-flowname" }), ...lines.map((l) => l.path), ...[...boxes.values()].map((b) => b.root)));
  }

  const right = (n) => (Number.isFinite(n.busy) ? `${number(n.busy * 100)} %` : n.state || "");
  const below = (n) => (n.kind === "sink" ? "they act" : n.kind === "source" ? (fleet.twins ? plural(fleet.twins.length, "twin") : "") : n.lag !== null && n.lag !== undefined ? (n.lag ? `${plural(n.lag, "record")} wait${n.lag === 1 ? "s" : ""}` : "nothing waits") : n.name === "dashboard" ? "this page" : "");

  function draw() {
    const data = pipeline.data;
    box.root.hidden = (!data && Boolean(pipeline.error)) || Boolean(data && !data.ledger?.records_in);
    if (!data || box.root.hidden) return;
    const drawn = picture(data);
    if (!drawn.nodes.some((n) => n.kind === "flow")) { if (built !== "none") { built = "none"; area.replaceChildren(empty("No flow has reported yet", "Telemetry may be starting. Look which processes run:", ["twinflow status"], "This picture fills by itself.")); list.replaceChildren(); } return; }
    const key = JSON.stringify([area.clientWidth, drawn.nodes.map((n) => n.name), drawn.edges.map((e) => [e.from, e.to])]);
    if (key !== built && area.clientWidth) { built = key; build(drawn); }
    const [tone, words] = sentence(data, drawn.nodes), at = frozen();
    if (mark !== tone) { mark = tone; said.replaceChildren(...(tone ? [shape("warn", 14, "Slow")] : []), h("span")); }
    if (!said.lastChild) said.append(h("span"));
    put(said.lastChild, at || words);
    said.classList.toggle("tf-warn", Boolean(tone) && !at);
    const title = area.querySelector("#tf-flowname");
    if (title) put(title, `Flow graph: ${words}`);
    for (const n of drawn.nodes) paint(n);
    for (const l of lines) {
      const rate = l.edges.reduce((all, e) => all + (drawn.edges.find((d) => d.from === e.from && d.to === e.to)?.rate ?? 0), 0), slow = drawn.nodes.some((n) => n.slow && l.edges.every((e) => e.to === n.name));
      l.path.setAttribute("stroke-width", (1 + Math.log10(1 + rate) * 0.8).toFixed(1));
      l.path.setAttribute("class", slow ? "tf-gline tf-gslow" : "tf-gline");
    }
    phone(drawn.nodes.filter((n) => n.kind === "flow"));
  }

  function paint(n) {
    const b = boxes.get(n.name);
    if (!b) return;
    if (n.kind === "topic") { put(b.right, perSecond(n.rate).join(" ")); return; }
    const bar = Number.isFinite(n.busy);
    put(b.right, right(n));
    put(b.under, bar ? "" : below(n));
    b.track.style.display = b.fill.style.display = bar ? "" : "none";
    if (bar) b.fill.setAttribute("width", Math.max(1, Math.min(1, n.busy) * (b.width - 22)));
    b.root.classList.toggle("tf-gamber", Boolean(n.slow));
  }

  /** Worst first. */
  function phone(flows) {
    const sorted = [...flows].sort((a, b) => (b.slow ?? false) - (a.slow ?? false) || (b.busy ?? 0) - (a.busy ?? 0) || (b.lag ?? 0) - (a.lag ?? 0));
    for (const n of sorted) {
      if (!rows.has(n.name)) {
        const r = { said: h("span.tf-note"), bar: h("i"), track: h("span.tf-track"), mark: h("span.tf-rowmark") };
        r.track.append(r.bar);
        r.root = h("div.tf-flowrow", { role: "listitem" }, r.mark, h("b", {}, n.name), h("span.tf-fill"), r.said, r.track);
        rows.set(n.name, r);
      }
      const r = rows.get(n.name), state = n.slow ? "warn" : "";
      put(r.said, [right(n), below(n)].filter(Boolean).join(" · "));
      r.track.hidden = !Number.isFinite(n.busy);
      r.bar.style.width = `${Math.min(1, n.busy ?? 0) * 100}%`;
      r.root.classList.toggle("tf-gamber", Boolean(n.slow));
      if (r.mark.dataset.state !== state) { r.mark.dataset.state = state; r.mark.replaceChildren(...(state ? [shape(state, 14)] : [])); }
    }
    const nodes = sorted.map((n) => rows.get(n.name).root);
    if (nodes.length !== list.children.length || nodes.some((x, i) => list.children[i] !== x)) list.replaceChildren(...nodes);
  }

  const resized = new ResizeObserver(draw);
  resized.observe(area);
  const drops = [pipeline.watch(draw), fleet.watch(draw)];
  everySecond(host, draw);
  return { destroy: () => { drops.forEach((drop) => drop()); resized.disconnect(); } };
}
