/** The form of a new command: twin, verb, its arguments with their limits, the value now, and why. */
import { get } from "./api.js";
import { serverNow } from "./link.js";
import { fleet } from "./fleet.js";
import { h, put } from "./dom.js";
import { number, quantity, since, title } from "./format.js";
import { sent } from "./commands.js";

/** `start` {device, verb, arguments, why}; `done(id)` with the id when it was sent, null when given up. */
export function newCommand(start, done) {
  const twin = h("select.tf-select", { "aria-label": "Twin" }), verb = h("select.tf-select", { "aria-label": "Command" }), fields = h("div.tf-fields");
  const reason = h("input.tf-select", { required: true, maxlength: 200, "aria-label": "Reason", placeholder: "It is kept in the audit" }), note = h("p.tf-note"), said = h("p.tf-hint.tf-warn", { role: "alert", hidden: true });
  const send = h("button.tf-button.tf-primary", {}, "Send"), close = h("button.tf-plain", { type: "button", onclick: () => done(null) }, "Cancel");
  const form = h("form.tf-ask.tf-new", { "aria-label": "New command" }, h("label", {}, "Twin", twin), h("label", {}, "Command", verb), fields, h("label", {}, "Reason", reason), note, said, h("div.tf-actions", {}, send, close));
  reason.value = start.why ?? "";
  let state = null, inputs = [], turn = 0;

  function twins() {
    const names = (fleet.twins ?? []).map((t) => t.id).sort();
    if (start.device && !names.includes(start.device)) names.unshift(start.device);
    const chosen = twin.value || start.device || names[0] || "";
    if (twin.options.length !== names.length) twin.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
    if (twin.value !== chosen) twin.value = chosen;
    if (!state && twin.value) read();
  }

  async function read() {
    const mine = ++turn;
    put(send, `Send to ${twin.value}`);
    put(note, `Reading ${twin.value}…`);
    send.disabled = true;
    try {
      const found = await get(`twins/${encodeURIComponent(twin.value)}`);
      if (mine !== turn) return;
      state = { ...found, readMs: serverNow() };
      const verbs = (found.commands ?? []).map((c) => c.verb);
      verb.replaceChildren(...verbs.map((name) => h("option", { value: name }, name)));
      if (verbs.includes(start.verb)) verb.value = start.verb;
      send.disabled = !verbs.length;
      put(note, verbs.length ? "" : `Type ${found.type} defines no command, so ${twin.value} takes none.`);
      ask();
    } catch (error) { if (mine === turn) put(note, `${error.what} ${error.next}`); }
  }

  function ask() {
    const spec = state?.commands?.find((c) => c.verb === verb.value), properties = spec?.arguments?.properties ?? {}, must = new Set(spec?.arguments?.required ?? []);
    inputs = Object.entries(properties).map(([name, p]) => field(name, p, must.has(name)));
    fields.replaceChildren(...inputs.map((i) => i.root));
    if (spec?.grave) put(note, "This is a grave command: a second person has to approve it.");
  }

  function field(name, p, must) {
    const signal = state.signals?.find((s) => s.name === name), numeric = p.type === "number" || p.type === "integer", unit = signal ? quantity(signal)[1] : "";
    const limits = numeric && (Number.isFinite(p.minimum) || Number.isFinite(p.maximum)) ? `, ${Number.isFinite(p.minimum) ? number(p.minimum) : "any"} to ${Number.isFinite(p.maximum) ? number(p.maximum) : "any"}` : "";
    const input = p.enum ? h("select.tf-select", {}, ...p.enum.map((v) => h("option", { value: JSON.stringify(v) }, String(v))))
      : p.type === "boolean" ? h("select.tf-select", {}, h("option", { value: "true" }, "yes"), h("option", { value: "false" }, "no"))
        : h("input.tf-select", { type: numeric ? "number" : "text", step: p.type === "integer" ? 1 : "any", min: p.minimum, max: p.maximum, required: must });
    input.setAttribute("aria-label", title(name));
    const before = start.verb === verb.value ? start.arguments?.[name] : undefined;
    if (before !== undefined) input.value = p.enum ? JSON.stringify(before) : String(before);
    const now = signal && Number.isFinite(signal.value) ? h("span.tf-note", {}, `Now ${quantity(signal).join(" ")}, ${ageOf(signal)} old`) : null;
    const read_ = () => (p.enum || p.type === "boolean" ? JSON.parse(input.value) : numeric ? Number(input.value) : p.type === "string" || !p.type ? input.value : JSON.parse(input.value));
    return { name, root: h("label", {}, `${title(name)}${unit ? `, ${unit}` : ""}${limits}`, input, now), filled: () => input.value !== "", read: read_ };
  }

  function ageOf(signal) {
    const ms = Number.isFinite(signal.age_ms) ? signal.age_ms : serverNow() - signal.ts_ns / 1e6;
    return ms < 1000 ? `${number(ms)} ms` : since(ms);
  }

  twin.addEventListener("change", () => { state = null; read(); });
  verb.addEventListener("change", ask);
  form.addEventListener("keydown", (e) => { if (e.key === "Escape") done(null); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.hidden = true;
    let given;
    try { given = Object.fromEntries(inputs.filter((i) => i.filled()).map((i) => [i.name, i.read()])); } catch { said.hidden = false; put(said, "A list or an object is written as JSON."); return; }
    const key = `new:${Date.now()}`;
    send.disabled = true;
    put(send, `Sending to ${twin.value}…`);
    const id = await sent.send(key, { device: twin.value, verb: verb.value, arguments: given, reason: reason.value.trim() });
    send.disabled = false;
    put(send, `Send to ${twin.value}`);
    if (id) { done(id); return; }
    said.hidden = false;
    put(said, `${sent.of(key)?.said ?? "It was not taken."}`);
    sent.forget(key);
  });
  const drop = fleet.watch(twins);
  twins();
  return { root: form, focus: () => (start.device ? verb : twin).focus(), destroy: drop };
}
