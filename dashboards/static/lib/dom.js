/** Elements, the life of a view, and the three states every region has besides its data. */
import { shape } from "./shapes.js";

/** h("div.tf-row", {onclick, title}, child, ...): children are nodes or text, null is left out. */
export function h(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") element.style.cssText = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/** Set text only where it differs: an unchanged node is not laid out again. */
export function put(node, text) {
  const next = String(text);
  if (node.textContent !== next) node.textContent = next;
}

const views = new Map();  // host element -> {update, destroy}

/** What the Python side calls at every run: builds the view once per host element and then only hands it new data.
    `build(host, data, component)` returns {update?(data), destroy?()}. */
export function mount(component, build) {
  const host = component.parentElement;
  const found = views.get(host);
  if (found) { found.update?.(component.data, component); return; }
  host.classList?.add("tf-view");
  host.replaceChildren();
  views.set(host, build(host, component.data ?? {}, component) ?? {});
}

const ticks = new Set();
/** Call fn once a second while `host` is in the document. */
export function everySecond(host, fn) { ticks.add({ host, fn }); }
setInterval(() => {
  for (const [host, made] of views) if (!host.isConnected) { views.delete(host); made.destroy?.(); }
  for (const tick of ticks) { if (tick.host.isConnected) tick.fn(); else ticks.delete(tick); }
}, 1000);

/** A titled card. `extra` go to the right of the head. Returns {root, head, note, body}. */
export function card(name, note = "", ...extra) {
  const small = h("span.tf-note", {}, note), body = h("div.tf-body");
  const head = h("header.tf-head", {}, h("h2", {}, name), small, h("span.tf-fill"), ...extra);
  return { root: h("section.tf-card", { "aria-label": name }, head, body), head, note: small, body };
}

/** Rows of the final height while something is read; `what` says what. */
export function skeleton(rows, what, height = 36) {
  return h("div.tf-skeleton", { role: "status" }, h("p.tf-note", {}, what),
    ...Array.from({ length: rows }, () => h("div.tf-bone", { style: `height:${height - 16}px;margin:8px 0` })));
}

/** A command to copy. */
function command(text) {
  const button = h("button.tf-button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(text);
    put(button, "Copied");
  });
  return h("div.tf-command", {}, h("code", {}, text), button);
}

/** What is missing, what to do, and the commands that do it. */
export function empty(what, next, commands = [], foot = "") {
  return h("div.tf-empty", { role: "status" }, h("h3", {}, what), h("p", {}, next), ...commands.map(command),
    foot ? h("p.tf-note", {}, foot) : null);
}

/** A failed region: what, likely cause, next step, Try again, error id. The other regions stay as they are. */
export function failure(error, again, heading = "This part cannot be read") {
  const [next, run] = String(error.next ?? "").split(/(?=twinflow [a-z])/);
  const line = (name, text) => (text ? [h("dt", {}, name), h("dd", {}, text)] : []);
  return h("section.tf-failure", { role: "alert" }, h("header", {}, shape("offline"), h("h3", {}, heading)),
    h("dl", {}, ...line("What", error.what ?? error.message), ...line("Likely cause", error.cause),
      ...line("Next step", next || (run ? "Look at:" : "Try again; if it stays, look at the log."))),
    run ? command(run) : null,
    h("footer", {}, h("button.tf-button.tf-primary", { type: "button", onclick: again }, "Try again"),
      h("span.tf-fill"), error.id ? h("span.tf-note", {}, `error id ${error.id}`) : null));
}

/** A token as a css colour, for canvas. */
export function token(host, name) {
  const probe = h("i", { style: `color:var(--tf-${name});display:none` });
  host.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
