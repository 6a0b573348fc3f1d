/** Below a reason of dead letters: its newest messages, or the redrive, which asks in place. */
import { get, post } from "./api.js";
import { h, put, skeleton } from "./dom.js";
import { number, plural, utcMs } from "./format.js";

const LOOKED = 20, MOST = 100_000;

/** The newest messages of a reason: where each lies, whose it is, why, and its bytes. */
export function look(reason) {
  const root = h("div.tf-letters", { role: "region", "aria-label": `Dead letters, ${reason}` }, skeleton(3, "Reading the messages…", 40));
  get("dead-letters", { reason, limit: LOOKED }).then((list) => root.replaceChildren(...(list.length ? list.map(letter) : [h("p.tf-note", {}, "These messages are older than what is kept for showing; they are still in topic dead-letters.")])),
    (error) => root.replaceChildren(h("p.tf-hint.tf-warn", {}, `${error.what} ${error.next}`)));
  return root;
}

function letter(l) {
  const text = l.raw ?? (l.raw_base64 ? `base64 ${l.raw_base64}` : "");
  const copy = h("button.tf-plain", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => { await navigator.clipboard?.writeText(text); put(copy, "Copied"); });
  return h("article.tf-letter", {}, h("header", {}, h("span.tf-mono", {}, `${l.topic}[${l.partition}] offset ${number(l.offset)}`), h("span.tf-note.tf-clip", {}, [l.device || "no device", l.arrival_ns ? `${utcMs(l.arrival_ns / 1e6)} UTC` : ""].filter(Boolean).join(" · ")), h("span.tf-fill"), text ? copy : null),
    l.detail ? h("p", {}, l.detail) : null, h("pre.tf-payload", { tabindex: 0, "aria-label": "Payload" }, text || "empty"), l.cut ? h("p.tf-note", {}, "Only its beginning is shown.") : null);
}

/** How many, dry run, then a button that names the number; says what came of it. `done()` closes it. */
export function redrive(reason, count, done) {
  const many = h("input.tf-select", { type: "number", min: 1, max: MOST, step: 1, required: true, value: Math.min(count, MOST), "aria-label": "How many messages" }), said = h("p.tf-hint", { role: "status" }, "The dry run counts and sends nothing.");
  const go = h("button.tf-button.tf-primary", {}, "Dry run"), close = h("button.tf-plain", { type: "button", onclick: done }, "Cancel");
  const form = h("form.tf-ask", { "aria-label": `Redrive ${reason}` }, h("label.tf-inline", {}, "At most", many, "messages, oldest first"), said, h("div.tf-actions", {}, go, close));
  let ready = 0, over = false;

  const messages = (n) => plural(n, "message");

  function reset() { ready = 0; over = false; go.hidden = false; put(go, "Dry run"); put(close, "Cancel"); put(said, "The dry run counts and sends nothing."); said.classList.remove("tf-warn"); }
  many.addEventListener("input", reset);
  form.addEventListener("keydown", (e) => { if (e.key === "Escape") done(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (over) return;
    const dry = ready === 0, limit = dry ? Number(many.value) : ready;
    go.disabled = many.disabled = true;
    put(go, dry ? "Counting…" : `Redriving ${messages(ready)}…`);
    said.classList.remove("tf-warn");
    try {
      const r = await post("dead-letters/redrive", { reason, limit, dry_run: dry });
      const rest = [r.left ? `${number(r.left)} more stay for a next time` : "", r.passed_over ? `${number(r.passed_over)} passed over: not kept whole, or only a part was refused` : ""].filter(Boolean).join("; ");
      if (dry && r.sent) { ready = r.sent; put(go, `Redrive ${messages(ready)}`); put(said, `Dry run: ${messages(r.sent)} would go again to where ${r.sent === 1 ? "it" : "they"} came from.${rest ? ` ${rest}.` : ""} Nothing was sent.`); }
      else if (dry) { over = true; go.hidden = true; put(close, "Close"); put(said, `Dry run: no message is left to redrive.${rest ? ` ${rest}.` : ""}`); }
      else { over = true; go.hidden = true; put(close, "Close"); put(said, `${messages(r.sent)} sent again.${rest ? ` ${rest}.` : ""} What is refused once more comes back to this list.`); }
    } catch (error) {
      put(go, dry ? "Dry run" : `Redrive ${messages(ready)}`);
      put(said, [error.what, error.cause, error.next].filter(Boolean).join(" "));
      said.classList.add("tf-warn");
    }
    go.disabled = many.disabled = false;
  });
  return { root: form, focus: () => many.focus() };
}
