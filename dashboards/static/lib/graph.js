/** Places boxes and pills in columns from left to right and draws the lines between them. Pure arithmetic. */
const LEAST = 366, BOX = [168, 58], PILL = [176, 25], SOURCE = [112, 58], BUS = [0, 10], GAP = 6, PAD = 16;
/** A box with steps: its width, where the first of its rows begins, and how high a row is. */
export const STEPS = { width: 216, top: 50, row: 19 };
const sizeOf = (n) => (n.steps?.length ? [STEPS.width, STEPS.top + 6 + STEPS.row * n.steps.length] : { flow: BOX, topic: PILL, source: SOURCE, sink: SOURCE }[n.kind]);

/** Column of each node: its longest way from a source; lines that lead back are left out of that. */
function columns(nodes, edges) {
  const after = new Map(nodes.map((n) => [n.name, []])), column = new Map(nodes.map((n) => [n.name, 0])), open = new Set(), done = new Set(), back = new Set();
  for (const e of edges) after.get(e.from)?.push(e);
  const order = [];
  const visit = (name) => {
    open.add(name);
    for (const e of after.get(name) ?? []) { if (open.has(e.to)) back.add(e); else if (!done.has(e.to)) visit(e.to); }
    open.delete(name); done.add(name); order.unshift(name);
  };
  for (const n of nodes) if (!done.has(n.name)) visit(n.name);
  for (const name of order) for (const e of after.get(name) ?? []) if (!back.has(e)) column.set(e.to, Math.max(column.get(e.to), column.get(name) + 1));
  return { column, back };
}

/** Lines that pass a column go together through one bus per target there. */
function buses(nodes, edges, column, back) {
  const all = nodes.map((n) => ({ ...n, size: sizeOf(n), column: column.get(n.name) })), made = new Map(), lines = [];
  for (const e of edges) {
    if (back.has(e) || !column.has(e.from) || !column.has(e.to)) continue;
    let from = e.from;
    for (let c = column.get(e.from) + 1; c < column.get(e.to); c++) {
      const name = `\u0000${e.to}\u0000${c}`;
      if (!made.has(name)) { made.set(name, { name, kind: "bus", size: BUS, column: c }); all.push(made.get(name)); }
      join(from, name, e);
      from = name;
    }
    join(from, e.to, e);
  }
  function join(from, to, e) {
    const found = lines.find((l) => l.from === from && l.to === to);
    if (found) found.edges.push(e); else lines.push({ from, to, edges: [e] });
  }
  return { all, lines };
}

/** {nodes with x, y, w, h; lines with path d and edges; height} for a width in px. */
export function layout(nodes, edges, width) {
  const { column, back } = columns(nodes, edges), { all, lines } = buses(nodes, edges, column, back), count = Math.max(...all.map((n) => n.column)) + 1;
  const cols = Array.from({ length: count }, (_, c) => all.filter((n) => n.column === c)), place = new Map(all.map((n, i) => [n.name, i]));
  for (let sweep = 0; sweep < 4; sweep++) for (const col of sweep % 2 ? [...cols].reverse() : cols) {
    const middle = (n) => {
      const near = lines.filter((l) => (sweep % 2 ? l.from : l.to) === n.name).map((l) => place.get(sweep % 2 ? l.to : l.from));
      return near.length ? near.reduce((a, b) => a + b, 0) / near.length : place.get(n.name);
    };
    const key = new Map(col.map((n) => [n.name, middle(n)]));
    col.sort((a, b) => key.get(a.name) - key.get(b.name) || (a.rate ?? 0) < (b.rate ?? 0) || 0);
    col.forEach((n, i) => place.set(n.name, (i + 0.5) / col.length));
  }
  const tall = (col) => col.reduce((s, n) => s + n.size[1] + GAP, -GAP), height = Math.max(LEAST, ...cols.map(tall)) + 2 * PAD;
  const widths = cols.map((col) => Math.max(...col.map((n) => n.size[0]))), free = Math.max(24, (width - 2 * PAD - widths.reduce((a, b) => a + b, 0)) / Math.max(1, count - 1));
  let x = PAD;
  cols.forEach((col, c) => {
    const spare = Math.max(0, height - 2 * PAD - tall(col)) / (col.length + 1);
    let y = PAD + spare;
    for (const n of col) { Object.assign(n, { w: n.size[0], h: n.size[1], x, y }); if (n.kind === "bus") n.w = widths[c]; y += n.h + GAP + spare; }
    x += widths[c] + free;
  });
  const at = new Map(all.map((n) => [n.name, n])), needed = x - free + PAD;
  for (const l of lines) {
    const a = at.get(l.from), b = at.get(l.to), mine = (side, name) => lines.filter((o) => o[side] === name).sort((p, q) => at.get(p[side === "from" ? "to" : "from"]).y - at.get(q[side === "from" ? "to" : "from"]).y);
    const port = (n, list) => {  // a line of a step leaves or enters at its row
      const row = (line) => (n.steps ?? []).findIndex((s) => s.name === line.edges[0].step), at = row(l), near = at < 0 ? list : list.filter((o) => row(o) === at);
      const [top, tall] = at < 0 ? [0, n.h] : [STEPS.top + at * STEPS.row, STEPS.row];
      return n.y + top + (tall * (near.indexOf(l) + 1)) / (near.length + 1);
    };
    const y1 = port(a, mine("from", a.name)), y2 = port(b, mine("to", b.name)), x1 = a.x + a.w, bend = Math.max(20, (b.x - x1) * 0.5);
    l.d = `M${a.kind === "bus" ? a.x : x1} ${y1.toFixed(1)}H${x1}C${x1 + bend} ${y1.toFixed(1)} ${b.x - bend} ${y2.toFixed(1)} ${b.x} ${y2.toFixed(1)}`;
  }
  return { nodes: all.filter((n) => n.kind !== "bus"), lines, height, width: Math.max(width, needed) };
}
