/** A band that says in words what does not answer, since when, what goes on meanwhile and that it heals by itself. */
import { everySecond, h, link, put, serverNow, shape, since, utc } from "../lib.js";
import { pipeline, sum } from "../lib/pipeline.js";
import { plural } from "../lib/format.js";

const BACK_MS = 60_000;
const PARTS = {
  page: ["The page server does not answer", "It only shows: the flows and the history go on without it, and nothing is lost."],
  broker: ["Kafka does not answer", "Nothing that it has taken is lost: every flow goes on at the record where it stopped. Until then no value moves, and no command can be sent: use the physical stop."],
  history: ["The history does not answer", "Nothing is lost: results wait in Kafka, and the writer goes on where it stopped. Live values, alarms and commands are not held up; past ranges wait."],
};

export default function outage(host) {
  const rows = Object.fromEntries(Object.entries(PARTS).map(([name, [what, rest]]) => {
    const head = h("b"), cause = h("p.tf-note"), mark = h("span");
    return [name, { root: h("div.tf-outage", { hidden: true, role: "status", "data-part": name }, mark, h("div", {}, head, h("p", {}, rest, " It recovers by itself."), cause)), head, cause, mark, what, rest: null, downMs: null, backMs: null }];
  }));
  for (const r of Object.values(rows)) r.rest = r.root.querySelector("p");
  host.append(...Object.values(rows).map((r) => r.root));

  function draw() {
    const told = pipeline.data?.links ?? {}, broker = link.source ?? told.broker;
    show("page", !link.up && link.tried ? { since_ns: link.sinceMs * 1e6, cause: "" } : null, link.up);
    show("broker", link.up && broker?.up === false ? broker : null, link.up && broker?.up === true);
    show("history", link.up && told.history?.up === false ? told.history : null, link.up && told.history?.up === true);
  }

  /** `down`: {since_ns, cause} while it does not answer; `up`: it surely does. Neither: it is not known, so what was said stays. */
  function show(name, down, up) {
    const r = rows[name], now = serverNow();
    if (down) { r.downMs = down.since_ns / 1e6; r.backMs = null; }
    else if (up && r.downMs !== null && r.backMs === null) r.backMs = now;
    if (r.backMs !== null && now - r.backMs > BACK_MS) r.downMs = r.backMs = null;
    r.root.hidden = r.downMs === null;
    if (r.root.hidden) return;
    const back = r.backMs !== null, state = back ? "passed" : "offline", waits = sum(pipeline.data?.partitions, name === "history" ? "history_lag" : "lag");
    if (r.mark.dataset.state !== state) { r.mark.dataset.state = state; r.mark.replaceChildren(shape(state)); }
    r.root.classList.toggle("tf-back", back);
    put(r.head, back ? `${r.what.replace("does not answer", "answers again")}, after ${since(r.backMs - r.downMs)}` : `${r.what} since ${utc(r.downMs)} UTC, ${since(now - r.downMs)}`);
    r.rest.hidden = back;
    put(r.cause, back ? (waits > 1000 ? `It catches up: ${plural(waits, "record")} wait.` : "Nothing waits for long.") : down?.cause ?? "");
  }

  const drops = [pipeline.watch(draw), link.onChange(draw)];
  everySecond(host, draw);
  draw();
  return { destroy: () => drops.forEach((drop) => drop()) };
}
