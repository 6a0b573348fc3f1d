/** The steps of a flow: a row each with its share at work, its share of waiting, and rows per second. */
import { put } from "./dom.js";
import { number } from "./format.js";
import { STEPS } from "./graph.js";
import { BLOCKED, BUSY, perSecond } from "./pipeline.js";

const BAR = { x: 66, width: 52 };

/** Percent of a share, with the waiting beside it where there is any to speak of. */
export const percent = (share) => `${number(share * 100, share > 0 && share < 0.0995 ? 1 : 0)} %`;

/** What a bar does not show, for the pointer. */
export const told = (s) => `${s.name}: ${percent(s.busy)} busy, ${percent(s.blocked)} waiting for what follows, ${perSecond(s.rows_in).join(" ")} in, ${perSecond(s.rows_out).join(" ")} out`;

/** Is a step what holds the flow up? */
export const tight = (s) => s.busy > BUSY || s.blocked > BLOCKED;

/** Rows of a box; `draw(steps)` brings them up to date. `s` makes SVG nodes. */
export function stepRows(s, count) {
  const rows = Array.from({ length: count }, (_, i) => {
    const y = STEPS.top + i * STEPS.row, text = (x, anchor, cls) => s("text", { x, y: y + 13, "text-anchor": anchor, class: cls });
    const r = { name: text(11, "start", "tf-gs"), share: text(155, "end", "tf-gn"), rate: text(STEPS.width - 11, "end", "tf-gn"), title: s("title") };
    r.busy = s("rect", { x: BAR.x, y: y + 6, height: 7, class: "tf-gfill" });
    r.blocked = s("rect", { y: y + 6, height: 7, class: "tf-gheld" });
    r.root = s("g", { class: "tf-gstep" }, r.title, s("rect", { x: 4, y, width: STEPS.width - 8, height: STEPS.row, class: "tf-ghit" }), r.name, s("rect", { x: BAR.x, y: y + 6, width: BAR.width, height: 7, rx: 2, class: "tf-gtrack" }), r.busy, r.blocked, r.share, r.rate);
    return r;
  });
  function draw(steps) {
    steps.forEach((step, i) => {
      const r = rows[i], busy = Math.min(1, step.busy) * BAR.width, blocked = Math.min(1, step.blocked) * BAR.width;
      put(r.name, step.name);
      put(r.title, told(step));
      put(r.share, percent(step.busy + step.blocked));
      put(r.rate, perSecond(step.rows_in).join(" "));
      r.busy.setAttribute("width", busy.toFixed(1));
      r.blocked.setAttribute("x", (BAR.x + busy).toFixed(1));
      r.blocked.setAttribute("width", Math.min(blocked, BAR.width - busy).toFixed(1));
      r.root.classList.toggle("tf-gtight", tight(step));
      r.root.dataset.step = step.name;
    });
  }
  return { root: s("g", {}, ...rows.map((r) => r.root)), draw };
}
