/** The ledger: records that came in are equal to those applied, late, twice, rejected and quarantined; or say what is missing. */
import { empty, everySecond, h, number, put, shape, since, utc } from "../lib.js";
import { frozen, pipeline, sum } from "../lib/pipeline.js";
import { problem } from "../lib/shared.js";

const PARTS = [["applied", "Applied"], ["late", "Late"], ["duplicate", "Duplicate"], ["rejected", "Rejected"], ["quarantined", "Quarantined"]];

export default function ledger(host) {
  const cells = new Map(), mark = h("span"), word = h("b.tf-verdict"), foot = h("span.tf-note"), fault = problem(pipeline, "The pipeline cannot be read"), other = h("div");
  const cell = (name, title) => { const value = h("b.tf-figure", {}, "–"), small = h("span.tf-note"), root = h("div.tf-sum", {}, h("span.tf-sumname", {}, title), value, small); cells.set(name, { value, small }); return root; };
  const sign = (text) => h("span.tf-sign", { "aria-hidden": true }, text);
  const strip = h("section.tf-card.tf-ledger", { "aria-label": "Ledger" }, cell("in", "In"), ...PARTS.flatMap(([name, title], i) => [sign(i ? "+" : "="), cell(name, title)]), h("span.tf-fill"), h("div.tf-balance", { role: "status" }, mark, h("div", {}, word, foot)));
  host.append(fault.root, other, strip);
  other.append(h("p.tf-note.tf-ledgerwait", { role: "status" }));

  function draw() {
    const data = pipeline.data;
    fault.draw();
    other.hidden = Boolean(data) || Boolean(pipeline.error);
    other.className = "tf-card";
    strip.hidden = !data || !data.ledger?.records_in;
    if (!data) { put(other.querySelector("p") ?? foot, `Reading the ledger… ${since(pipeline.waitedMs())}`); return; }
    const book = data.ledger, records = book.records ?? {}, came = book.records_in - (records.control ?? 0);
    if (!book.records_in) {
      other.hidden = false;
      if (!other.querySelector(".tf-empty")) other.replaceChildren(empty("No record has come in yet", "Kafka and telemetry are up; topic samples is empty. Start the sample fleet, or point a device at this host.", ["twinflow up"], "This page fills by itself within a second of the first record."));
      return;
    }
    put(cells.get("in").value, number(came));
    put(cells.get("in").small, book.samples_in ? `records; ${number(book.samples_in)} samples` : "records from the broker");
    for (const [name] of PARTS) {
      const n = records[name] ?? 0, c = cells.get(name);
      put(c.value, number(n));
      put(c.small, name === "rejected" && n ? `${share(n, came)} · dead letters` : name === "quarantined" && n ? `${share(n, came)} · time too far ahead` : share(n, came));
      c.value.classList.toggle("tf-zero", n === 0);
    }
    const balance = Math.abs(Number(book.balance?.records ?? book.balance) || 0), missing = balance + (book.missing ?? 0), good = missing === 0;
    const where = (data.partitions ?? []).filter((p) => p.holes > 0).map((p) => p.shard);
    if (mark.dataset.state !== String(good)) { mark.dataset.state = good; mark.replaceChildren(shape(good ? "passed" : "alarm", 18, good ? "Balanced" : "Not balanced")); }
    put(word, good ? "Balanced" : `${number(missing)} missing${where.length ? ` in shard ${where.slice(0, 3).join(", ")}` : ""}`);
    word.classList.toggle("tf-alarm", !good);
    const unsent = sum(data.partitions, "missing");
    put(foot, frozen() || (good ? `0 missing · cut at ${book.cut_ns ? `${utc(book.cut_ns / 1e6)} UTC` : "–"}` : "next: twinflow ledger --check"));
    foot.title = unsent ? `${number(unsent)} samples were numbered by devices and never sent; they are no loss of the pipeline` : "Cut: the newest moment that all these sums are true for";
  }

  const share = (n, all) => (n === 0 ? "none" : !all ? "–" : n / all < 5e-6 ? "under 0.001 %" : `${number((100 * n) / all, 3)} %`);
  const drop = pipeline.watch(draw);
  everySecond(host, draw);
  draw();
  return { destroy: drop };
}
