/** Partitions of samples: who waits, how fast, how far the watermark is, what is late and what devices never sent. */
import { card, everySecond, h, number, put, since, skeleton } from "../lib.js";
import { frozen, perSecond, pipeline } from "../lib/pipeline.js";

const MOST = 200, FEW = 1000;
const COLUMNS = [["Shard", ""], ["Worker", "tf-worker"], ["telemetry lag", "tf-num"], ["history lag", "tf-num"], ["", "tf-lagbar"], ["In", "tf-num"], ["Watermark", "tf-num"], ["Late", "tf-num"], ["Missing", "tf-num"]];

export default function partitions(host) {
  const box = card("Partitions of samples", "lag: records not yet taken"), body = h("tbody"), rows = new Map();
  const table = h("table.tf-table.tf-parts", {}, h("thead", {}, h("tr", {}, ...COLUMNS.map(([name, cls]) => h(cls ? `th.${cls}` : "th", { scope: "col" }, name)))), body), wait = skeleton(10, "Reading the partitions…", 28);
  box.body.append(wait, h("div.tf-scrollbox", {}, table));
  host.append(box.root);
  table.hidden = true;

  function row(p) {
    const pair = (cls = "tf-num") => { const value = h("span"), unit = h("span.tf-unit"), root = h(`td.${cls}`, {}, value, unit); return { root, value, unit }; };
    const r = { lag: pair(), history: pair(), bar: h("i"), rate: pair(), mark: pair(), late: pair(), missing: pair() };
    r.name = h("th.tf-mono", { scope: "row" }, p.shard);
    r.worker = h("td.tf-worker");
    r.root = h("tr", { "data-shard": p.shard }, r.name, r.worker, r.lag.root, r.history.root, h("td.tf-lagbar", {}, h("span.tf-track", {}, r.bar)), r.rate.root, r.mark.root, r.late.root, r.missing.root);
    return r;
  }

  function set(cell, digits, unit = "", tone = "") {
    put(cell.value, digits);
    put(cell.unit, unit);
    const cls = `tf-num${tone}`;
    if (cell.root.className !== cls) cell.root.className = cls;
  }

  /** Lag in records, or in ms where that is told. */
  function lagOf(p, name) {
    const ms = p[`${name}_ms`];
    if (Number.isFinite(ms)) return [ms < 1000 ? number(ms) : number(ms / 1000, 1), ms < 1000 ? "ms" : "s", ms > 2000];
    const n = p[name];
    return n === null || n === undefined ? ["–", "", false] : [number(n), "", n > Math.max(FEW, 5 * (p.rate ?? 0))];
  }

  function draw() {
    const data = pipeline.data;
    box.root.hidden = (!data && Boolean(pipeline.error)) || Boolean(data && !data.ledger?.records_in);
    if (!data) return;
    wait.hidden = true;
    table.hidden = false;
    const list = (data.partitions ?? []).slice(0, MOST), waits = (p) => (p.lag_ms ?? p.lag ?? 0) + (p.history_lag_ms ?? p.history_lag ?? 0), most = Math.max(1, ...list.map(waits));
    const inMs = list.some((p) => Number.isFinite(p.lag_ms));
    put(box.note, frozen() ? "frozen" : inMs ? "lag: age of the oldest record" : "lag: records not yet taken");
    for (const p of list) {
      if (!rows.has(p.shard)) rows.set(p.shard, row(p));
      const r = rows.get(p.shard), [a, au, aBad] = lagOf(p, "lag"), [b, bu, bBad] = lagOf(p, "history_lag"), mark = p.watermark_ns ? data.takenMs - p.watermark_ns / 1e6 : null;
      put(r.worker, p.worker ?? "–");
      set(r.lag, a, au, aBad ? " tf-bad2" : "");
      set(r.history, b, bu, bBad ? " tf-bad2" : "");
      r.bar.style.width = `${(100 * waits(p)) / most}%`;
      r.bar.className = aBad || bBad ? "tf-amberbar" : "";
      set(r.rate, ...perSecond(p.rate));
      if (mark === null) set(r.mark, "–");
      else if (Math.abs(mark) < 60_000) set(r.mark, number(-mark / 1000, 1), "s");
      else set(r.mark, `${mark > 0 ? "−" : "+"}${since(Math.abs(mark))}`);
      set(r.late, number(p.late ?? 0), "", p.late ? "" : " tf-dim");
      set(r.missing, number((p.missing ?? 0) + (p.holes ?? 0)), "", p.holes ? " tf-bad1" : p.missing ? " tf-strong" : " tf-dim");
      r.missing.root.title = p.holes ? `${number(p.holes)} records of this partition are in no entry of the ledger` : "Samples that devices numbered and never sent";
    }
    const nodes = list.map((p) => rows.get(p.shard).root);
    if (nodes.length !== body.children.length || nodes.some((n, i) => body.children[i] !== n)) body.replaceChildren(...nodes);
  }

  const drop = pipeline.watch(draw);
  everySecond(host, draw);
  draw();
  return { destroy: drop };
}
