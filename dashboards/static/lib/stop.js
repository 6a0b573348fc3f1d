/** Stop: the ordinary `stop` command through the gate, for types that have one; its life is told beside the button. */
import { clock, go, hasPage, route } from "./clock.js";
import { result } from "./commands.js";
import { h, put } from "./dom.js";
import { link } from "./link.js";
import { sent } from "./sent.js";
import { shape } from "./shapes.js";

const SAID = "The ordinary stop command, through the gate. It is no emergency stop.", MOST = 8, GONE_MS = 30_000;

/** {button, answer, chooser, twins, possible, draw(), drop}: `twins` are those that can be stopped, `possible` whether a gate runs. */
export function stopper() {
  const button = h("button.tf-stop", { type: "button", hidden: true, title: SAID }, "Stop…"), answer = h("span.tf-answer", { role: "status" });
  const chooser = h("div.tf-chooser", { hidden: true, role: "group", "aria-label": "Stop a twin" });
  let asked = null, endedMs = 0;
  const self = { button, answer, chooser, twins: [], possible: false, draw, drop: null };
  const selected = () => (route.page === "twin" && self.twins.some((t) => t.id === route.id) ? route.id : null);

  function draw() {
    button.hidden = !self.possible || (link.up && !self.twins.length);
    put(button, selected() ? `Stop ${selected()}` : "Stop…");
    if (asked) tell();
  }

  /** What the stop has come to; gone half a minute after its end. */
  function tell() {
    const entry = sent.of(`stop:${asked}`), c = entry?.command, over = entry && !["sending", "waiting"].includes(entry.state);
    if (over) endedMs ||= Date.now();
    if (over && Date.now() - endedMs > GONE_MS) { asked = null; put(answer, ""); return; }
    const words = !entry || entry.state === "sending" ? `Stop ${asked}: sending…` : entry.state === "failed" ? `Stop ${asked}: ${entry.said} Use the physical stop.`
      : !c ? `Stop ${asked}: handed over, ${entry.id.slice(0, 8)}` : `Stop ${asked}: ${[result(c)[1], result(c)[2]].filter(Boolean).join(": ")}${c.end && c.end !== "effect" ? ". Use the physical stop." : ""}`;
    const past = clock.live ? "" : " It goes out now, not at the paused instant.";
    if (answer.dataset.said === words + past) return;
    answer.dataset.said = words + past;
    answer.classList.toggle("tf-warn", Boolean(over && entry.state !== "confirmed"));
    answer.title = words + past;
    answer.replaceChildren(h("span", {}, words + past), ...(entry?.id && hasPage("commands") ? [h("button.tf-plain", { type: "button", onclick: () => go("commands", { sel: entry.id }) }, "Show")] : []));
  }

  function send(id) {
    chooser.hidden = true;
    if (!link.up) { answer.dataset.said = ""; answer.replaceChildren(h("span", {}, "No link: use the physical stop.")); return; }
    asked = id;
    endedMs = 0;
    sent.send(`stop:${id}`, { device: id, verb: "stop", arguments: {}, reason: "Stop on the page" });
    tell();
  }

  function choose() {
    chooser.hidden = !chooser.hidden;
    if (chooser.hidden) return;
    const find = h("input", { placeholder: "Find twin", "aria-label": "Find twin" }), list = h("div.tf-choices"), rest = h("p.tf-note");
    const fill = () => {
      const hits = self.twins.filter((t) => t.state !== "offline" && t.id.toLowerCase().includes(find.value.toLowerCase()));
      list.replaceChildren(...hits.slice(0, MOST).map((t) => h("button.tf-choice", { type: "button", onclick: () => send(t.id) }, shape(t.state), `Stop ${t.id}`)));
      put(rest, `${hits.length > MOST ? `${hits.length - MOST} more; type to find them. ` : hits.length ? "" : "No such twin that is heard and knows stop. "}${SAID}`);
    };
    find.addEventListener("input", fill);
    find.addEventListener("keydown", (e) => { if (e.key === "Escape") chooser.hidden = true; });
    chooser.replaceChildren(find, list, rest);
    fill();
    find.focus();
  }

  button.addEventListener("click", () => (!link.up || selected() ? send(selected()) : choose()));
  self.drop = sent.onChange(() => { if (asked) tell(); });
  return self;
}
