/** Scores of a detector around its alarm against their threshold; a score is kept only while it is over it. */
import { get } from "./api.js";
import { clock } from "./clock.js";
import { h, put } from "./dom.js";
import { number, utc } from "./format.js";
import { ns } from "./shared.js";

const SVG = "http://www.w3.org/2000/svg", WIDE = 400, TALL = 64, POINTS = 200, FRESH_MS = 10_000;

function s(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/** {root, show(alarm, from, to)}: hidden where the history has fewer than two scores. */
export function scoreChart() {
  const area = h("div.tf-scores"), note = h("p.tf-note"), root = h("div.tf-part2", { hidden: true }, h("h3.tf-sub2", {}, "Score against threshold"), area, note);
  let shown = "", askedMs = 0, turn = 0;

  async function show(a, from, to) {
    const key = `${a.id}|${clock.atMs}`;
    if (key === shown && (a.returned || Date.now() - askedMs < FRESH_MS)) return;
    if (key !== shown) root.hidden = true;
    shown = key;
    askedMs = Date.now();
    const mine = ++turn;
    const found = await get("scores", { twin: a.twin, detector: a.source, signal: a.signal || null, from_ns: ns(from), to_ns: ns(to), points: POINTS }).catch(() => null);
    if (mine === turn) draw(found, from, to);
  }

  function draw(found, from, to) {
    root.hidden = !(found?.t.length > 1);
    if (root.hidden) return;
    const top = 1.1 * Math.max(...found.v, ...found.threshold), x = (t) => (((t / 1e6 - from) / (to - from)) * WIDE).toFixed(1), y = (v) => (TALL - (v / top) * TALL).toFixed(1);
    const limit = found.threshold.at(-1), worst = Math.max(...found.v), width = Math.max(1.5, WIDE / POINTS - 0.5);
    area.replaceChildren(s("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, preserveAspectRatio: "none", width: "100%", height: TALL, role: "img", "aria-label": `Score from ${utc(from)} to ${utc(to)}, at most ${number(worst, 2)}, threshold ${number(limit, 2)}` }));
    area.firstChild.append(...found.t.map((t, i) => s("rect", { x: x(t), y: y(found.v[i]), width, height: (TALL - Number(y(found.v[i]))).toFixed(1), class: "tf-score" })),
      s("line", { x1: 0, x2: WIDE, y1: y(limit), y2: y(limit), class: "tf-scorelimit", "vector-effect": "non-scaling-stroke" }));
    put(note, `worst ${number(worst, 2)}, threshold ${number(limit, 2)}; kept only while over it`);
  }

  return { root, show, hide() { turn++; root.hidden = true; shown = ""; } };
}
