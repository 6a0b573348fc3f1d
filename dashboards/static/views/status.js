/** Right end of the top bar: link, age of the newest live value, UTC, active alarms, theme, keys, Stop. */
import { everySecond, features, get, go, h, hasPage, keys, link, number, poll, put, route, serverNow, shape, since, subscribe } from "../lib.js";
import { stopper } from "../lib/stop.js";
import { toggleHelp } from "../lib/keys.js";
import { switchTheme, theme } from "../lib/theme.js";

export default function status(host) {
  const mark = h("span"), word = h("span.tf-linkword"), age = h("span.tf-age"), utc = h("span.tf-utc");
  const alarms = h("b", {}, "–"), warns = h("b", {}, "–");
  const counts = h("button.tf-counts", { type: "button", title: "Open the alarms", onclick: () => go(alarmPage()) },
    shape("alarm"), alarms, shape("warn"), warns);
  const other = theme() === "dark" ? "light" : "dark", stop = stopper();
  host.append(h("div.tf-status", {}, stop.answer, h("span.tf-link", { role: "status" }, mark, word), age, utc, counts,
    h("button.tf-theme", { type: "button", title: `Switch to the ${other} theme`, "aria-label": `Switch to the ${other} theme`, onclick: switchTheme }, shape("theme", 16, `Switch to the ${other} theme`)),
    h("button.tf-keys", { type: "button", title: "Keys", "aria-label": "Keys", onclick: toggleHelp }, "?"), stop.button, stop.chooser));
  let heardMs = null, atMs = 0;

  const alarmPage = () => (hasPage("alarms") ? "alarms" : "");

  function draw() {
    const dry = link.up && link.source?.up === false, state = link.up && !dry ? "linked" : "offline";
    if (mark.dataset.state !== state) { mark.dataset.state = state; mark.replaceChildren(shape(state)); }
    const text = dry ? `No Kafka · ${since(serverNow() - link.source.since_ns / 1e6)}` : link.up ? "Linked" : link.tried ? `No link · ${since(Date.now() - link.sinceMs)}` : "Linking";
    put(word, text);
    mark.parentElement.classList.toggle("tf-bad", dry || (!link.up && link.tried));
    mark.parentElement.title = dry ? link.source.cause : link.missed ? `${number(link.missed)} live rows were left out: this browser is too slow` : "";
    mark.parentElement.setAttribute("aria-label", text);
    const newest = link.ageMs ?? (heardMs === null ? null : heardMs + Date.now() - atMs);
    put(age, link.up && newest !== null ? (newest < 1000 ? `${number(newest)} ms` : since(newest)) : "");
    age.title = "Age of the newest value";
    put(utc, `${new Date(serverNow()).toISOString().slice(11, 19)} UTC`);
    stop.draw();
  }

  function count(list) {
    const ages = list.map((t) => t.age_ms).filter(Number.isFinite);
    heardMs = ages.length ? Math.min(...ages) : null;
    atMs = Date.now();
    put(alarms, number(list.filter((t) => t.state === "alarm").length));
    put(warns, number(list.filter((t) => t.state === "warn").length));
    stop.twins = list.filter((t) => t.stop);
    draw();
  }

  keys({ "Shift+S": ["stop the selected twin", () => { if (!stop.button.hidden) stop.button.click(); }], t: [`${other} theme`, switchTheme] }, host);
  const may = async () => { stop.possible = Boolean((await features()).commands); draw(); };
  may();
  const drops = [stop.drop, link.onChange(() => { draw(); if (link.up) { may(); ask(); } }), route.onChange(draw),
    subscribe("overview", (m) => { if (m.data) count(m.data); }), subscribe("alarms", () => {})];
  const ask = poll(15_000, () => host.isConnected, () => get("twins"), count, () => {});
  everySecond(host, draw);
  draw();
  return { destroy: () => drops.forEach((drop) => drop()) };
}
