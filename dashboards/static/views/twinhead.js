/** Head of the twin page: state, name, type; clock, rate, differences; what can be done. Without a twin: the choice of one. */
import { clock, empty, everySecond, failure, features, fleet, get, go, h, hasPage, number, plural, put, route, shape, twin } from "../lib.js";

export default function twinhead(host) {
  const mark = h("span.tf-headmark"), name = h("h1", {}, "–"), type = h("span.tf-note.tf-clip"), facts = h("dl.tf-facts");
  const order = h("button.tf-button", { type: "button", hidden: true, onclick: () => go("commands", { sel: `new:${route.id}` }) }, "Command…");
  const link = h("button.tf-button", { type: "button", title: "Copy the address of this view", onclick: copy }, "Copy link");
  const head = h("header.tf-twinhead", {}, mark, name, type, h("span.tf-fill"), facts, order, link), other = h("div");
  host.append(head, other);
  const values = new Map();
  let shown = "", can = false;

  async function copy() {
    await navigator.clipboard?.writeText(location.href);
    put(link, "Copied");
    setTimeout(() => put(link, "Copy link"), 1500);
  }

  function fact(label, value, unit = "") {
    if (!values.has(label)) {
      const b = h("b"), u = h("span.tf-unit"), root = h("div", {}, h("dt", {}, label), h("dd", {}, b, u));
      values.set(label, { b, u, root });
      facts.append(root);
    }
    const v = values.get(label);
    v.root.hidden = value === null;
    if (value !== null) { put(v.b, value); put(v.u, unit); }
  }

  function draw() {
    const page = document.documentElement;
    const none = twin.id === null || (twin.error && !twin.data);
    page.classList.toggle("tf-notwin", Boolean(none));
    head.hidden = Boolean(none);
    const what = twin.id === null ? "choose" : twin.error && !(twin.error.status === 0 && twin.data) ? `error${twin.error.what}${twin.error.id}` : "";
    if (what !== shown) { shown = what; other.replaceChildren(...(what === "choose" ? [chooser()] : what ? [failed()] : [])); }
    const data = twin.data;
    if (none) return;
    put(name, twin.id);
    order.hidden = !can || !data?.commands?.length;
    if (!data) { put(type, "Reading…"); return; }
    const worst = twin.worst(), state = data.state === "ok" || data.state === "offline" || !worst ? data.state : worst.acknowledged ? `${data.state}-ack` : data.state;
    if (mark.dataset.state !== state) { mark.dataset.state = state; mark.replaceChildren(shape(state, 22)); }
    put(type, `${data.title ?? ""} type ${data.type}/${data.version}`.trim());
    const ns = data.clock?.offset_ns, error = data.clock?.error_ns;
    fact("Clock", Number.isFinite(ns) ? `${ns > 0 ? "+" : ""}${number(ns / 1e6, 1)}` : null, Number.isFinite(error) ? `ms ± ${number(error / 1e6, 1)}` : "ms");
    const rates = (data.signals ?? []).map((s) => s.rate_hz).filter((r) => r > 0);
    fact("Rate", rates.length ? number(Math.max(...rates), 1) : null, "Hz expected");
    const names = Object.keys(data.delta ?? {});
    fact("Reported – desired", data.delta ? number(names.length) : null, names.length ? `${names.length === 1 ? "difference" : "differences"}: ${names.slice(0, 2).join(", ")}` : "differences");
  }

  function failed() {
    const card = failure(twin.error, () => twin.again(), twin.error.status === 404 ? `There is no twin ${twin.id}` : clock.live ? "This twin cannot be read" : "This twin at this instant cannot be read");
    return h("div.tf-card.tf-gap", {}, card, twin.error.status === 404 ? chooser() : null);
  }

  function chooser() {
    const find = h("input.tf-select", { placeholder: "Find twin", "aria-label": "Find twin" }), list = h("div.tf-choices"), box = h("section.tf-card.tf-pick", {}, h("h3", {}, "Choose a twin"), find, list);
    const fill = (twins) => {
      const hits = twins.filter((t) => t.id.toLowerCase().includes(find.value.toLowerCase()));
      list.replaceChildren(...(twins.length ? [...hits.slice(0, 20).map((t) => h("button.tf-choice", { type: "button", "data-twin": t.id,
        onclick: () => route.twin(t.id) }, shape(t.state), t.id, h("span.tf-note", {}, t.site ?? ""))),
      h("p.tf-note", {}, `${plural(hits.length, "twin")}, worst first`)] : [empty("No twin has sent a sample yet", "Replay a recording, or point a device at this host.", ["twinflow replay husky"])]));
    };
    let twins = fleet.twins ?? [];
    find.addEventListener("input", () => fill(twins));
    get("twins").then((found) => { twins = found; fill(twins); }, (error) => list.replaceChildren(failure(error, () => { shown = ""; draw(); })));
    fill(twins);
    return box;
  }

  const drop = twin.watch(draw);
  const past = clock.onChange(draw);
  features().then((found) => { can = found.commands && hasPage("commands"); draw(); });
  everySecond(host, draw);
  draw();
  return { destroy: () => { drop(); past(); document.documentElement.classList.remove("tf-notwin"); } };
}
