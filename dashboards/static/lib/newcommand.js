/** The form of a new command: twin, verb, its arguments with their limits and the values of now, and why. */
import { get } from "./api.js";
import { fields } from "./fields.js";
import { fleet } from "./fleet.js";
import { h, put } from "./dom.js";
import { subscribe } from "./link.js";
import { sent } from "./sent.js";

const TICK_MS = 250;

/** `start` {device, verb, arguments, why}; `done(id)` with the id when it was sent, null when given up. */
export function newCommand(start, done) {
  const twin = h("select.tf-select", { "aria-label": "Twin" }), verb = h("select.tf-select", { "aria-label": "Command" }), places = h("div.tf-fields");
  const reason = h("input.tf-select", { required: true, maxlength: 200, "aria-label": "Reason", placeholder: "Kept with the command" }), note = h("p.tf-note"), said = h("p.tf-hint.tf-warn", { role: "alert", hidden: true });
  const send = h("button.tf-button.tf-primary", {}, "Send"), close = h("button.tf-plain", { type: "button", onclick: () => done(null) }, "Cancel");
  const form = h("form.tf-ask.tf-new", { "aria-label": "New command" }, h("label", {}, "Twin", twin), h("label", {}, "Command", verb), places,
    h("label", {}, "Reason", reason), note, said, h("div.tf-actions", {}, send, close));
  reason.value = start.why ?? "";
  let state = null, inputs = [], turn = 0, dropLive = null;

  function twins() {
    const names = (fleet.twins ?? []).map((t) => t.id).sort();
    if (start.device && !names.includes(start.device)) names.unshift(start.device);
    const chosen = twin.value || start.device || names[0] || "";
    if (twin.options.length !== names.length) twin.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
    if (twin.value !== chosen) twin.value = chosen;
    if (!state && twin.value) read();
  }

  async function read() {
    const mine = ++turn, name = twin.value;
    put(send, `Send to ${name}`);
    put(note, `Reading ${name}…`);
    send.disabled = true;
    dropLive?.();
    dropLive = subscribe(`twin:${name}`, () => {});
    try {
      const found = await get(`twins/${encodeURIComponent(name)}`);
      if (mine !== turn) return;
      state = found;
      const verbs = (found.commands ?? []).map((c) => c.verb);
      verb.replaceChildren(...verbs.map((v) => h("option", { value: v }, v)));
      if (verbs.includes(start.verb)) verb.value = start.verb;
      send.disabled = !verbs.length;
      ask();
      if (!verbs.length) put(note, `Type ${found.type} defines no command, so ${name} takes none.`);
    } catch (error) { if (mine === turn) put(note, [error.what ?? error.message, error.next].filter(Boolean).join(" ")); }
  }

  function ask() {
    const spec = state?.commands?.find((c) => c.verb === verb.value);
    inputs = fields(spec?.arguments, start.verb === verb.value ? start.arguments : {}, state);
    places.replaceChildren(...inputs.map((i) => i.root));
    put(note, spec?.grave ? "A grave command: a second person would have to approve it, which cannot be done yet, so the gate refuses it."
      : spec ? `${state.id} has ${spec.timeout_ns / 1e9} s to answer.` : "");
  }

  async function submit(event) {
    event.preventDefault();
    said.hidden = true;
    let given;
    try { given = Object.fromEntries(inputs.filter((i) => i.filled()).map((i) => [i.name, i.read()])); } catch { said.hidden = false; put(said, "A list or an object is written as JSON, such as [1, 2, 3]."); return; }
    const key = `new:${Date.now()}`, name = twin.value;
    send.disabled = true;
    put(send, `Sending to ${name}…`);
    const id = await sent.send(key, { device: name, verb: verb.value, arguments: given, reason: reason.value.trim() });
    send.disabled = false;
    put(send, `Send to ${name}`);
    if (id) { done(id); return; }
    said.hidden = false;
    put(said, sent.of(key)?.said || "It was not taken.");
    sent.forget(key);
  }

  twin.addEventListener("change", () => { state = null; read(); });
  verb.addEventListener("change", ask);
  form.addEventListener("keydown", (e) => { if (e.key === "Escape") done(null); });
  form.addEventListener("submit", submit);
  const drop = fleet.watch(twins), beat = setInterval(() => { for (const i of inputs) i.tick(); }, TICK_MS);
  twins();
  return { root: form, focus: () => (start.device ? verb : twin).focus(), destroy() { drop(); dropLive?.(); clearInterval(beat); } };
}
