/** Filter strip of the alarms: counts that filter, alarms per hour against the budget, median time to acknowledge. */
import { clock, everySecond, h, keys, number, put, shape, since } from "../lib.js";
import { alarms, choice, choose, DAY_MS, every, gate, shownBy } from "../lib/alarms.js";
import { commands } from "../lib/commands.js";

const CHIPS = [["open", "Open"], ["unacked", "Not acknowledged", "alarm"], ["acked", "Acknowledged", "alarm-ack"],
  ["returned", "Returned, not acknowledged", "returned"], ["shelved", "Shelved", "shelved"], ["day", "Last 24 h"]];
const HOUR_MS = 3_600_000, TALL = 24, WIDE = 9, SVG = "http://www.w3.org/2000/svg";

export default function alarmhead(host, data) {
  const budget = data.budget_per_hour ?? 6;
  const chips = CHIPS.map(([name, word, state]) => {
    const count = h("b", {}, "–"), text = h("span", {}, word);
    const root = h("button.tf-chip", { type: "button", role: "radio", "data-filter": name, onclick: () => choose(name) }, state ? shape(state) : null, text, count);
    return { name, root, count, text };
  });
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${24 * WIDE} ${TALL + 2}`);
  svg.setAttribute("class", "tf-hist");
  svg.setAttribute("role", "img");
  const bars = Array.from({ length: 24 }, (_, i) => part("rect", { x: i * WIDE + 1, width: WIDE - 2 }));
  const line = part("line", { x1: 0, x2: 24 * WIDE });
  svg.append(...bars, line);
  const rate = h("b.tf-figure2", {}, "–"), median = h("b.tf-figure2", {}, "–");
  const medianCell = h("div.tf-headfig", {}, h("div", {}, median), h("span.tf-note", {}, "median time to acknowledge"));
  host.append(h("section.tf-card.tf-alarmhead", { "aria-label": "Which alarms" },
    h("div.tf-chips", { role: "radiogroup", "aria-label": "Filter" }, ...chips.map((c) => c.root)),
    h("div.tf-histbox", {}, h("span.tf-note", {}, "Alarms per hour, 24 h"), svg),
    h("div.tf-headfig", {}, h("div", {}, rate, h("span.tf-unit", {}, "per h")), h("span.tf-note", { title: "Alarms and warnings that one person can answer to" }, `budget ${number(budget)} per h`)), medianCell));

  function part(name, attributes) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  }

  function draw() {
    const has = gate();
    for (const c of chips) {
      c.root.hidden = !has && ["unacked", "acked", "shelved"].includes(c.name);
      if (c.name === "returned") put(c.text, has ? "Returned, not acknowledged" : "Returned");
      put(c.count, alarms.data ? number(shownBy(c.name).length) : "–");
      c.root.setAttribute("aria-checked", choice.filter === c.name);
      if (c.root.hidden && choice.filter === c.name) choose("open");
    }
    medianCell.hidden = !has;
    if (!alarms.data) return;
    const now = clock.nowMs(), all = every().filter((a) => a.raised > now - DAY_MS), hours = new Array(24).fill(0);
    for (const a of all) hours[Math.min(23, Math.max(0, Math.floor((a.raised - now + DAY_MS) / HOUR_MS)))] += 1;
    const top = Math.max(budget * 1.2, ...hours), y = (n) => TALL + 2 - (n / top) * TALL;
    bars.forEach((bar, i) => {
      bar.setAttribute("y", y(hours[i]));
      bar.setAttribute("height", hours[i] ? TALL + 2 - y(hours[i]) : 0);
      bar.setAttribute("class", hours[i] > budget ? "tf-over" : "");
    });
    line.setAttribute("y1", y(budget));
    line.setAttribute("y2", y(budget));
    const over = hours.filter((n) => n > budget).length;
    svg.setAttribute("aria-label", `Alarms per hour in 24 h: at most ${number(Math.max(...hours))}, over the budget of ${number(budget)} in ${over} hours`);
    put(rate, number(all.length / 24, 1));
    rate.classList.toggle("tf-alarm", all.length / 24 > budget);
    const waits = every().filter((a) => a.acked && a.acked.ms > now - DAY_MS).map((a) => a.acked.ms - a.raised).sort((a, b) => a - b);
    put(median, waits.length ? span(waits[Math.floor(waits.length / 2)]) : "–");
  }

  function span(ms) {
    const s = Math.round(ms / 1000);
    return ms < HOUR_MS && s >= 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : since(ms);
  }

  keys({ f: ["next filter", () => {
    const shown = chips.filter((c) => !c.root.hidden), at = shown.findIndex((c) => c.name === choice.filter);
    choose(shown[(at + 1) % shown.length].name);
  }] }, host);
  const drops = [alarms.watch(draw), commands.watch(draw)];
  everySecond(host, draw);
  draw();
  return { destroy: () => drops.forEach((drop) => drop()) };
}
