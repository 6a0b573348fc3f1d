/** Keys of all pages; a view adds its own. None is active while something is typed. */
import { clock, go, pageLinks } from "./clock.js";
import { h } from "./dom.js";

const added = new Map();  // key -> {fn, host, text}

/** keys({"a": ["acknowledge", fn]}, host): active while host is in the document; the text is in the list of keys. */
export function keys(map, host) {
  for (const [key, [text, fn]] of Object.entries(map)) added.set(key, { text, fn, host });
}

const COMMON = {
  " ": ["pause, and live again", () => (clock.live ? clock.pause() : clock.resume()), "Space"],
  l: ["live", () => clock.resume(), "L"],
  ArrowLeft: ["1 s back, with Shift 10 s", (e) => clock.step(e.shiftKey ? -10_000 : -1000), "←"],
  ArrowRight: ["1 s on, with Shift 10 s", (e) => { if (!clock.live) clock.step(e.shiftKey ? 10_000 : 1000); }, "→"],
  "?": ["this list", () => toggleHelp(), "?"],
  Escape: ["close", () => help?.remove(), "Esc"],
};

const typing = (target) => target?.matches?.("input, textarea, select, [contenteditable], [role=slider]");

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.composedPath()[0])) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const name = event.shiftKey && /^[a-z]$/.test(key) ? `Shift+${key.toUpperCase()}` : key;
  const own = added.get(name);
  if (own?.host.isConnected) own.fn(event);
  else if (COMMON[key] && name === key) {
    if (key === " " && event.target?.closest?.("button, summary")) return;
    COMMON[key][1](event);
  } else if (/^[1-9]$/.test(key)) {
    const link = pageLinks()[Number(key) - 1];
    if (!link) return;
    go(link.page);
  } else return;
  event.preventDefault();
});

let help = null;
/** The list of keys, beside the work and not over it. */
export function toggleHelp() {
  if (help?.isConnected) { help.remove(); return; }
  const rows = [...Object.values(COMMON).map(([text, , label]) => [label, text]), ["1 … 9", "pages"],
    ...[...added].filter(([, a]) => a.host.isConnected).map(([key, a]) => [key.length === 1 ? key.toUpperCase() : key, a.text])];
  help = h("aside.tf-help", { "aria-label": "Keys" }, h("h3", {}, "Keys"),
    h("dl", {}, ...rows.flatMap(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])));
  document.body.append(help);
}
