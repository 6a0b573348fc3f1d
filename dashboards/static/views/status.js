/** Right end of the top bar: link, age of the newest live value, UTC, active alarms, keys, Stop. */
import { everySecond, features, get, go, h, hasPage, keys, link, number, poll, post, put, route, serverNow, shape, since, subscribe } from "../lib.js";
import { toggleHelp } from "../lib/keys.js";

export default function status(host) {
  const mark = h("span"), word = h("span.tf-linkword"), age = h("span.tf-age"), utc = h("span.tf-utc");
  const alarms = h("b", {}, "–"), warns = h("b", {}, "–");
  const counts = h("button.tf-counts", { type: "button", title: "Open the alarms", onclick: () => go(alarmPage()) },
    shape("alarm"), alarms, shape("warn"), warns);
  const stop = h("button.tf-stop", { type: "button", hidden: true }, "Stop…"), answer = h("span.tf-answer", { role: "status" });
  const chooser = h("div.tf-chooser", { hidden: true, role: "group", "aria-label": "Stop a twin" });
  host.append(h("div.tf-status", {}, h("span.tf-link", { role: "status" }, mark, word), age, utc, counts,
    h("button.tf-keys", { type: "button", title: "Keys", "aria-label": "Keys", onclick: toggleHelp }, "?"), stop, answer, chooser));
  let twins = [];

  const alarmPage = () => (hasPage("alarms") ? "alarms" : "");
  const selected = () => (route.page === "twin" && twins.some((t) => t.id === route.id) ? route.id : null);

  function draw() {
    const dry = link.up && link.source?.up === false, state = link.up && !dry ? "linked" : "offline";
    if (mark.dataset.state !== state) { mark.dataset.state = state; mark.replaceChildren(shape(state)); }
    const text = dry ? `No Kafka · ${since(serverNow() - link.source.since_ns / 1e6)}` : link.up ? "Linked" : link.tried ? `No link · ${since(Date.now() - link.sinceMs)}` : "Linking";
    put(word, text);
    mark.parentElement.classList.toggle("tf-bad", dry || (!link.up && link.tried));
    mark.parentElement.title = dry ? link.source.cause : link.missed ? `${number(link.missed)} live rows were left out: this browser is too slow` : "";
    mark.parentElement.setAttribute("aria-label", text);
    put(age, link.up && link.ageMs !== null ? (link.ageMs < 1000 ? `${number(link.ageMs)} ms` : since(link.ageMs)) : "");
    put(utc, `${new Date(serverNow()).toISOString().slice(11, 19)} UTC`);
    put(stop, selected() ? `Stop ${selected()}` : "Stop…");
  }

  function count(list) {
    twins = list;
    put(alarms, number(list.filter((t) => t.state === "alarm").length));
    put(warns, number(list.filter((t) => t.state === "warn").length));
    draw();
  }

  async function send(id) {
    chooser.hidden = true;
    if (!link.up) { put(answer, "No link: use the physical stop."); return; }
    put(answer, "Sending…");
    try {
      const sent = await post("commands", { device: id, verb: "stop", arguments: {}, reason: "Stop on the page" });
      put(answer, `stop asked of ${id}: ${sent.id}`);
      answer.title = "The ordinary stop command, through the gate. It is no emergency stop.";
    } catch (error) { put(answer, `${error.what} ${error.next} Use the physical stop.`); }
  }

  function choose() {
    chooser.hidden = !chooser.hidden;
    if (chooser.hidden) return;
    const find = h("input", { placeholder: "Find twin", "aria-label": "Find twin" }), list = h("div.tf-choices");
    const fill = () => list.replaceChildren(...twins.filter((t) => t.id.toLowerCase().includes(find.value.toLowerCase()))
      .slice(0, 8).map((t) => h("button.tf-choice", { type: "button", onclick: () => send(t.id) }, shape(t.state), `Stop ${t.id}`)));
    find.addEventListener("input", fill);
    find.addEventListener("keydown", (e) => { if (e.key === "Escape") chooser.hidden = true; });
    chooser.replaceChildren(find, list, h("p.tf-note", {}, "Sends the ordinary stop command through the gate. It is no emergency stop."));
    fill();
    find.focus();
  }

  stop.addEventListener("click", () => (selected() ? send(selected()) : choose()));
  stop.title = "The ordinary stop command, through the gate. It is no emergency stop.";
  keys({ "Shift+S": ["stop the selected twin", () => { if (!stop.hidden) stop.click(); }] }, host);
  const showStop = async () => { stop.hidden = !(await features()).commands; };
  showStop();
  const drops = [link.onChange(() => { draw(); if (link.up) { showStop(); ask(); } }), route.onChange(draw),
    subscribe("overview", (m) => { if (m.data) count(m.data); }), subscribe("alarms", () => {})];
  const ask = poll(15_000, () => host.isConnected, () => get("twins"), count, () => {});
  everySecond(host, draw);
  draw();
  return { destroy: () => drops.forEach((drop) => drop()) };
}
