/** Status as shape + colour + word, on a 16 px grid; the same paths as SVG and on canvas. */
const SVG = "http://www.w3.org/2000/svg";
const DIAMOND = "M8 .8 15.2 8 8 15.2.8 8Z", TRIANGLE = "M8 1.6 15.2 14.4H.8Z", BANG = "M8 4.2V9M8 10.6v1.2";
const RING = "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 1 0 8 2.2Z", SMALL = "M8 4a4 4 0 1 0 0 8a4 4 0 1 0 0-8Z";

/** shape -> [word, colour token, layers]; a layer is [path, fill, stroke, width, dash]. Names are tokens or "". */
export const STATES = {
  alarm: ["Alarm", [[DIAMOND, "alarm", "alarm", 1], [BANG, "", "on-alarm", 1.7]]],
  "alarm-ack": ["Alarm, acknowledged", [[DIAMOND, "", "alarm", 1.5], [BANG, "", "alarm", 1.5]]],
  warn: ["Warning", [[TRIANGLE, "warn-fill", "warn", 1.3]]],
  "warn-ack": ["Warning, acknowledged", [[TRIANGLE, "", "warn", 1.5]]],
  ok: ["Normal", [[SMALL, "ok", "line2", 1]]],
  offline: ["Offline", [[RING, "", "ink3", 1.5, [2.3, 1.6]], ["M4.4 11.6 11.6 4.4", "", "ink3", 1.5]]],
  shelved: ["Shelved", [["M2.5 2.5H13.5V13.5H2.5Z", "", "ink3", 1.4], ["M6.3 5.5V10.5M9.7 5.5V10.5", "", "ink3", 1.5]]],
  returned: ["Returned", [["M13.4 9.5A5.8 5.8 0 1 1 12 3.8", "", "ink2", 1.5], ["M12.6 1.2V4.6H9.2", "", "ink2", 1.5], [SMALL, "", "ink2", 1.2]]],
  passed: ["Passed", [["M3 8.4 6.6 12 13 4.4", "", "ink1", 2]]],
  refused: ["Refused", [["M4 4 12 12M12 4 4 12", "", "ink1", 2]]],
  waiting: ["In progress", [[RING, "", "sel", 1.6], ["M8 5.8a2.2 2.2 0 1 0 0 4.4a2.2 2.2 0 1 0 0-4.4Z", "sel", "", 0]]],
  pending: ["Not reached", [[RING, "", "line2", 1.1]]],
  theme: ["Theme", [[RING, "", "ink2", 1.3], ["M8 2.2A5.8 5.8 0 0 1 8 13.8Z", "ink2", "", 0]]],
  linked: ["Linked", [[RING, "", "line2", 1.2], [SMALL, "ink2", "", 0]]],
};

/** SVG of a state with its word as title. `size` px; unknown states draw as "pending". */
export function shape(state, size = 16, word = undefined) {
  const [name, layers] = STATES[state] ?? STATES.pending;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("width", size);
  svg.setAttribute("height", size);
  svg.setAttribute("role", "img");
  svg.setAttribute("class", "tf-shape");
  svg.dataset.state = state;
  const label = document.createElementNS(SVG, "title");
  label.textContent = word ?? name;
  svg.append(label, ...layers.map(([d, fill, stroke, width, dash]) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    path.style.fill = fill ? `var(--tf-${fill})` : "none";
    if (stroke) path.style.stroke = `var(--tf-${stroke})`;
    path.setAttribute("stroke-width", width);
    path.setAttribute("stroke-linejoin", "round");
    if (dash) path.setAttribute("stroke-dasharray", dash.join(" "));
    return path;
  }));
  return svg;
}

const paths = new Map();
/** The same shape on a canvas: left, top, size in css px; `colour(token)` gives a css colour. */
export function paintShape(ctx, state, x, y, size, colour) {
  const [, layers] = STATES[state] ?? STATES.pending;
  ctx.save();
  ctx.translate(x, y);
  ctx.scale(size / 16, size / 16);
  for (const [d, fill, stroke, width, dash] of layers) {
    let path = paths.get(d);
    if (!path) paths.set(d, path = new Path2D(d));
    if (fill) { ctx.fillStyle = colour(fill); ctx.fill(path); }
    if (!stroke) continue;
    ctx.strokeStyle = colour(stroke);
    ctx.lineWidth = width * Math.min(1.3, 16 / size);
    ctx.setLineDash(dash ?? []);
    ctx.stroke(path);
  }
  ctx.restore();
}
