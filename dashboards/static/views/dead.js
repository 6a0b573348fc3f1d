/** Dead letters by reason: how many, whose, what it means and what to do; Look at the bytes, redrive in place. */
import { card, everySecond, h, number, plural, put, serverNow, since, skeleton } from "../lib.js";
import { frozen, pipeline, sum } from "../lib/pipeline.js";
import { look, redrive } from "../lib/letters.js";

export default function dead(host) {
  const box = card("Dead letters"), list = h("div.tf-list", { role: "list" }), rows = new Map(), quiet = h("p.tf-pad.tf-note", { hidden: true }, "No message was refused. A message that cannot be read or breaks its type comes here with its reason, whole.");
  box.body.append(list, quiet);
  host.append(box.root);
  list.append(skeleton(4, "Reading the dead letters…", 76));
  let filled = false;

  function row(d) {
    const r = { count: h("b.tf-deadcount"), who: h("span"), old: h("span"), plain: h("p"), next: h("p.tf-note"), below: h("div"), open: "" };
    r.look = h("button.tf-plain", { type: "button", "aria-expanded": "false", onclick: () => toggle(d.reason, "look") }, "Look");
    r.redrive = h("button.tf-button", { type: "button", "aria-expanded": "false", onclick: () => toggle(d.reason, "redrive") }, "Redrive…");
    r.root = h("div.tf-deadrow", { role: "listitem", "data-reason": d.reason }, r.count, h("div.tf-deadsaid", {}, h("p.tf-clip", {}, h("b.tf-mono", {}, d.reason), " ", r.who, r.old), r.plain, r.next), h("div.tf-actions", {}, r.look, r.redrive), r.below);
    return r;
  }

  function toggle(reason, what) {
    const r = rows.get(reason), data = pipeline.data?.dead_letters?.find((d) => d.reason === reason);
    r.open = r.open === what ? "" : what;
    r.look.setAttribute("aria-expanded", r.open === "look");
    r.redrive.setAttribute("aria-expanded", r.open === "redrive");
    const form = r.open === "redrive" ? redrive(reason, data?.count ?? 1, () => { if (r.open === "redrive") toggle(reason, "redrive"); pipeline.again(); }) : null;
    r.below.replaceChildren(...(form ? [form.root] : r.open === "look" ? [look(reason)] : []));
    r.below.className = r.open ? "tf-deadbelow" : "";
    form?.focus();
  }

  function draw() {
    const data = pipeline.data;
    box.root.hidden = (!data && Boolean(pipeline.error)) || Boolean(data && !data.ledger?.records_in);
    if (!data) return;
    const letters = data.dead_letters ?? [], now = frozen() ? data.takenMs : serverNow();
    if (!filled) { filled = true; list.replaceChildren(); }
    quiet.hidden = letters.length > 0;
    put(box.note, letters.length ? `${plural(sum(letters, "count"), "message")} refused, by reason` : "");
    for (const d of letters) {
      if (!rows.has(d.reason)) rows.set(d.reason, row(d));
      const r = rows.get(d.reason), blocked = d.redrive === false;
      put(r.count, number(d.count));
      put(r.who, d.who || "unknown");
      put(r.old, d.last_ns ? ` · last ${since(now - d.last_ns / 1e6)} ago` : "");
      put(r.plain, d.plain ?? "");
      put(r.next, d.next ?? "");
      r.redrive.disabled = blocked;
      r.redrive.title = blocked ? `A redrive cannot help: ${d.next ?? "the same bytes are refused again."}` : "Asks how many, and counts first";
    }
    const order = [...letters].sort((a, b) => b.count - a.count), busy = list.querySelector(".tf-deadbelow") || list.matches(":hover");
    const nodes = order.map((d) => rows.get(d.reason).root);
    if (nodes.length !== list.children.length || (!busy && nodes.some((n, i) => list.children[i] !== n))) list.replaceChildren(...nodes);
  }

  const drop = pipeline.watch(draw);
  everySecond(host, draw);
  draw();
  return { destroy: drop };
}
