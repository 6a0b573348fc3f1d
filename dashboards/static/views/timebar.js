/** Where we are, and the one clock: instant, Live or Paused, range. */
import { clock, everySecond, get, go, h, poll, put, route, utcMs } from "../lib.js";

const CUSTOM = /^\d{1,6}[smhd]$/;

export default function timebar(host, data) {
  let page = data.page, sites = new Map();
  const crumbs = h("nav.tf-crumbs", { "aria-label": "Place" });
  const instant = h("span.tf-instant", { role: "status" });
  const live = h("button.tf-live", { type: "button", onclick: () => (clock.live ? clock.pause() : clock.resume()) });
  const ranges = h("div.tf-ranges", { role: "radiogroup", "aria-label": "Range" },
    ...Object.keys(clock.PRESETS).map((name) => h("button", { type: "button", role: "radio", "data-range": name,
      onclick: () => { custom.hidden = true; clock.set({ range: name }); } }, name)),
    h("button.tf-custom", { type: "button", "data-range": "", onclick: ask }, "Custom…"));
  const span = h("input", { size: 6, "aria-label": "Range, such as 90m", placeholder: "90m" });
  const end = h("input", { type: "datetime-local", step: "0.001", "aria-label": "Until, UTC" });
  const custom = h("form.tf-customform", { hidden: true }, h("label", {}, "Last ", span), h("label", {}, "until (UTC) ", end),
    h("button.tf-button", {}, "Show"));
  custom.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!CUSTOM.test(span.value)) { span.setCustomValidity("A number and s, m, h or d, such as 90m"); span.reportValidity(); return; }
    const until = end.value ? Date.parse(`${end.value}Z`) : null;
    custom.hidden = true;
    clock.set({ range: span.value, atMs: until });
  });
  span.addEventListener("input", () => span.setCustomValidity(""));
  host.append(h("div.tf-timebar", {}, crumbs, h("span.tf-fill"), instant, live, ranges, custom));

  function ask() {
    custom.hidden = !custom.hidden;
    span.value = clock.range;
    if (!custom.hidden) span.focus();
  }

  function place() {
    const site = sites.get(route.id);
    const parts = route.page === "twin" && route.id ? [...String(site ?? "").split("/").map((p) => p.trim()).filter(Boolean), route.id] : [page];
    const text = parts.join(" / "), name = `${parts.at(-1)} · twinflow`;
    if (document.title !== name) document.title = name;
    if (crumbs.dataset.text === text) return;
    crumbs.dataset.text = text;
    crumbs.replaceChildren(...parts.map((p, i) => (i === parts.length - 1 ? h("strong", { "aria-current": "location" }, p)
      : h("a", { href: "/", onclick: (e) => { e.preventDefault(); go(""); } }, p, " / "))));
  }

  function draw() {
    const paused = !clock.live;
    document.documentElement.classList.toggle("tf-paused", paused);
    instant.replaceChildren(...(paused ? [h("b", {}, utcMs(clock.atMs)),
      ` · known at ${clock.knownMs === null ? "now" : utcMs(clock.knownMs)}`] : ["showing now"]));
    live.replaceChildren(h(paused ? "i.tf-bars" : "i.tf-dot"), paused ? "Paused" : "Live");
    live.setAttribute("aria-pressed", paused);
    live.title = paused ? "Back to live (L)" : "Pause all views (Space)";
    const preset = clock.range in clock.PRESETS;
    for (const b of ranges.children) {
      const on = b.dataset.range === (preset ? clock.range : "");
      b.setAttribute("aria-checked", on);
      b.classList.toggle("tf-on", on);
    }
    put(ranges.lastChild, preset ? "Custom…" : clock.range);
    place();
  }

  poll(60_000, () => host.isConnected, () => (route.id ? get("twins") : []), (list) => {
    sites = new Map(list.map((t) => [t.id, t.site]));
    place();
  }, () => {});
  const drops = [clock.onChange(draw), route.onChange(draw)];
  everySecond(host, place);
  draw();
  return { update: (next) => { page = next.page; draw(); }, destroy: () => drops.forEach((drop) => drop()) };
}
