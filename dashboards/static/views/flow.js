/** The flow as a picture: boxes run, pills are topics, a line's width is the logarithm of its rate; on phones a list. */
import { card, empty, everySecond, fleet, h, plural, put, shape, since, skeleton } from "../lib.js";
import { layout } from "../lib/graph.js";
import { BLOCKED, frozen, perSecond, picture, pipeline, sentence } from "../lib/pipeline.js";
import { percent, stepRows, tight, told } from "../lib/steps.js";

const SVG = "http://www.w3.org/2000/svg";

function s(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export default function flow(host) {
  const said = h("span.tf-flowsaid", { role: "status" }), legend = h("span.tf-note.tf-flowlegend", {}, "bar: busy share, hatched: waits for what follows · line width: records/s · dashed: backpressure");
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
    const held = s("rect", { y: 37, height: 8, class: "tf-gheld" }), steps = stepRows(s, n.steps?.length ?? 0), title = s("title");
    const root = s("g", { transform: `translate(${n.x} ${n.y})`, class: `tf-g tf-g-${n.kind}`, "data-node": n.name }, title,
      s("rect", { width: n.w, height: n.h, rx: n.kind === "topic" ? n.h / 2 : 5, class: "tf-gbox" }), head, right, ...(n.kind === "topic" ? [] : [track, fill, held, under, steps.root]));
    return { root, right, under, track, fill, held, steps, title, width: n.w };
  }

  function build(drawn) {
    const placed = layout(drawn.nodes, drawn.edges, Math.max(area.clientWidth, 600));
    boxes = new Map(placed.nodes.map((n) => [n.name, node(n)]));
    lines = placed.lines.map((l) => ({ ...l, path: s("path", { d: l.d, class: "tf-gline" }) }));
    area.replaceChildren(s("svg", { viewBox: `0 0 ${placed.width} ${placed.height}`, width: "100%", height: Math.round(placed.height * Math.min(1, area.clientWidth / placed.width)), role: "img", "aria-labelledby": "tf-flowname" },
      s("title", { id: "tf-flowname" }), hatch(), ...lines.map((l) => l.path), ...[...boxes.values()].map((b) => b.root)));
  }

  /** The pattern of waiting. */
  const hatch = () => s("defs", {}, s("pattern", { id: "tf-hatch", width: 4, height: 4, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, s("rect", { width: 2, height: 4, class: "tf-ghatch" })));

  const right = (n) => (n.state === "stopped" || n.state === "unknown" ? n.state : Number.isFinite(n.busy) ? percent(n.busy) : n.state || "");
  const below = (n) => (n.kind === "sink" ? "they act" : n.kind === "source" ? (fleet.twins ? plural(fleet.twins.length, "twin") : "") : n.late > 1000 ? `${since(n.late)} behind` : n.lag !== null && n.lag !== undefined ? (n.lag ? `${plural(n.lag, "record")} wait${n.lag === 1 ? "s" : ""}` : "nothing waits") : n.name === "dashboard" ? "this page" : "");

  function draw() {
    const data = pipeline.data;
    box.root.hidden = (!data && Boolean(pipeline.error)) || Boolean(data && !data.ledger?.records_in);
    if (!data || box.root.hidden) return;
    const drawn = picture(data);
    if (!drawn.nodes.some((n) => n.kind === "flow")) { if (built !== "none") { built = "none"; area.replaceChildren(empty("No flow has reported yet", "Telemetry may be starting. Look which processes run:", ["twinflow status"], "This picture fills by itself.")); list.replaceChildren(); } return; }
    const key = JSON.stringify([area.clientWidth, drawn.nodes.map((n) => [n.name, n.steps?.length]), drawn.edges.map((e) => [e.from, e.to])]);
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
      const rate = l.edges.reduce((all, e) => all + (drawn.edges.find((d) => d.from === e.from && d.to === e.to)?.rate ?? 0), 0), slow = drawn.nodes.some((n) => n.slow && l.edges.every((e) => (n.blocked > BLOCKED ? e.from === n.name && e.step !== "live" : e.to === n.name)));
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
    const whole = b.width - 22, busy = bar ? Math.max(1, Math.min(1, n.busy) * whole) : 0;
    b.fill.setAttribute("width", busy);
    b.held.setAttribute("x", 11 + busy);
    b.held.setAttribute("width", bar ? Math.min(n.blocked * whole, whole - busy) : 0);
    if (n.steps?.length) b.steps.draw(n.steps);
    put(b.title, [n.name, n.processes > 1 ? `${n.processes} processes, the busiest` : "", bar ? `${percent(n.busy)} busy, ${percent(n.blocked)} waiting for what follows` : "", below(n)].filter(Boolean).join(": "));
    b.root.classList.toggle("tf-gamber", Boolean(n.slow));
  }

  /** Worst first. */
  function phone(flows) {
    const sorted = [...flows].sort((a, b) => (b.slow ?? false) - (a.slow ?? false) || (b.busy ?? 0) - (a.busy ?? 0) || (b.lag ?? 0) - (a.lag ?? 0));
    for (const n of sorted) {
      if (!rows.has(n.name)) {
        const r = { said: h("span.tf-note"), bar: h("i"), held: h("i.tf-held"), track: h("span.tf-track"), mark: h("span.tf-rowmark"), steps: h("div.tf-steps") };
        r.track.append(r.bar, r.held);
        r.root = h("div.tf-flowrow", { role: "listitem", "data-flow": n.name }, r.mark, h("b", {}, n.name), h("span.tf-fill"), r.said, r.track, r.steps);
        rows.set(n.name, r);
      }
      const r = rows.get(n.name), state = n.slow ? "warn" : "";
      put(r.said, [right(n), below(n)].filter(Boolean).join(" · "));
      r.track.hidden = !Number.isFinite(n.busy);
      r.bar.style.width = `${Math.min(1, n.busy ?? 0) * 100}%`;
      r.held.style.width = `${Math.min(1 - Math.min(1, n.busy ?? 0), n.blocked ?? 0) * 100}%`;
      phoneSteps(r.steps, n.steps ?? []);
      r.root.classList.toggle("tf-gamber", Boolean(n.slow));
      if (r.mark.dataset.state !== state) { r.mark.dataset.state = state; r.mark.replaceChildren(...(state ? [shape(state, 14)] : [])); }
    }
    const nodes = sorted.map((n) => rows.get(n.name).root);
    if (nodes.length !== list.children.length || nodes.some((x, i) => list.children[i] !== x)) list.replaceChildren(...nodes);
  }

  /** The steps under a flow, in their order. */
  function phoneSteps(place, steps) {
    if (place.children.length !== steps.length) place.replaceChildren(...steps.map(() => h("div.tf-step", {}, h("span"), h("span.tf-track", {}, h("i"), h("i.tf-held")), h("span.tf-num"), h("span.tf-num.tf-dim"))));
    steps.forEach((x, i) => {
      const [name, track, share, rate] = place.children[i].children;
      put(name, x.name);
      put(share, percent(x.busy + x.blocked));
      put(rate, perSecond(x.rows_in).join(" "));
      track.children[0].style.width = `${Math.min(1, x.busy) * 100}%`;
      track.children[1].style.width = `${Math.min(1 - Math.min(1, x.busy), x.blocked) * 100}%`;
      place.children[i].title = told(x);
      place.children[i].classList.toggle("tf-gtight", tight(x));
    });
  }

  const resized = new ResizeObserver(draw);
  resized.observe(area);
  const drops = [pipeline.watch(draw), fleet.watch(draw)];
  everySecond(host, draw);
  return { destroy: () => { drops.forEach((drop) => drop()); resized.disconnect(); } };
}
