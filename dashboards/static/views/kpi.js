/** State strip: four counts that filter the list below, and figures of the whole that exist here. */
import { clock, everySecond, failure, features, fleet, get, h, number, plural, poll, put, serverNow, shape, since } from "../lib.js";

const COUNTS = [["alarm", "Alarm"], ["warn", "Warning"], ["offline", "Offline"], ["ok", "Normal"]];

export default function kpi(host) {
  const cells = Object.fromEntries(COUNTS.map(([state, word]) => [state, cell(word, state)]));
  const figures = { age: cell("Data age, p99"), ledger: cell("Ledger"), commands: cell("Open commands"), rate: cell("Alarm rate") };
  const strip = h("section.tf-card.tf-kpi", { "aria-label": "State of all twins" },
    ...Object.values(cells).map((c) => c.root), ...Object.values(figures).map((c) => c.root));
  figures.commands.root.hidden = true;
  const error = h("div");
  host.append(error, strip);
  let said = "";

  function cell(word, state) {
    const value = h(state ? "b.tf-big" : "b.tf-figure", {}, "–"), unit = h("span.tf-unit"), foot = h("span.tf-foot"), news = h("span.tf-news");
    const head = h("span.tf-celltop", {}, state ? shape(state) : null, h("span", {}, word), h("span.tf-fill"), news);
    const inside = [head, h("span", {}, value, unit), foot];
    const root = state ? h("button.tf-cell", { type: "button", "data-state": state, "aria-pressed": "false",
      onclick: () => fleet.choose(state) }, ...inside) : h("div.tf-cell", {}, ...inside);
    return { root, value, unit, foot, news };
  }

  function draw() {
    const list = fleet.twins, wrong = fleet.error && !(fleet.error.status === 0 && list) ? fleet.error : null;
    const key = wrong ? `${wrong.what}${wrong.id}` : "";
    if (key !== said) {
      said = key;
      error.className = wrong ? "tf-card tf-gap" : "";
      error.replaceChildren(...(wrong ? [failure(wrong, () => fleet.again(), clock.live ? "The twins cannot be read" : "The twins at this instant cannot be read")] : []));
    }
    if (!list) return;
    const now = clock.nowMs();
    for (const [state] of COUNTS) {
      const of = list.filter((t) => t.state === state), c = cells[state];
      const waiting = of.filter((t) => t.unacked > 0).length;
      const longest = Math.max(0, ...of.map((t) => now - t.since_ns / 1e6));
      const fresh = of.filter((t) => now - t.since_ns / 1e6 < 3600e3).length;
      put(c.value, number(of.length));
      c.value.classList.toggle("tf-alarm", state === "alarm" && of.length > 0);
      put(c.news, state !== "ok" && fresh ? `${fresh} new in 1 h` : "");
      put(c.foot, state === "ok" ? `${number((100 * of.length) / list.length, 1)} % of ${plural(list.length, "twin")}`
        : !of.length ? "none" : state === "offline" ? `longest ${since(longest)}`
          : waiting ? `${number(waiting)} not acknowledged` : "all acknowledged");
      c.root.setAttribute("aria-pressed", fleet.filter === state);
    }
    const ages = list.filter((t) => t.state !== "offline" && Number.isFinite(t.age_ms)).map((t) => t.age_ms).sort((a, b) => a - b);
    const p99 = ages.length ? ages[Math.min(ages.length - 1, Math.floor(0.99 * ages.length))] : null;
    set(figures.age, p99 === null ? "–" : p99 < 10_000 ? number(p99) : since(p99), p99 !== null && p99 < 10_000 ? "ms" : "", "newest value per twin");
  }

  function set(c, value, unit, foot) { put(c.value, value); put(c.unit, unit); put(c.foot, foot); }

  async function figuresNow() {
    const day = Math.round((serverNow() - 86400e3) * 1e6);
    const [pipe, alarms, can] = await Promise.allSettled([get("pipeline"), get("alarms", { from_ns: day }), features()]);
    const commands = can.value?.commands ? await get("commands").catch(() => null) : null;
    return { pipe: pipe.value, alarms: alarms.value, commands, has: Boolean(can.value?.commands), day };
  }

  poll(10_000, () => host.isConnected, figuresNow, ({ pipe, alarms, commands, has, day }) => {
    const ledger = pipe?.ledger;
    if (ledger) {
      const missing = Number(ledger.missing ?? Math.abs(Number(ledger.balance?.records ?? ledger.balance) || 0));
      set(figures.ledger, number(missing), "missing", `of ${number(ledger.records_in)} records in`);
      figures.ledger.value.classList.toggle("tf-alarm", missing > 0);
    } else set(figures.ledger, "–", "", "the pipeline gives no answer");
    if (alarms) set(figures.rate, number(alarms.filter((a) => a.raised_ns >= day).length / 24, 1), "per h", "raised, mean of 24 h");
    else set(figures.rate, "–", "", "the history gives no answer");
    figures.commands.root.hidden = !has;
    const open = commands?.filter((c) => c.open);
    set(figures.commands, open ? number(open.length) : "–", "", open ? (open.length ? `oldest ${since(serverNow() - Math.min(...open.map((c) => c.at_ns)) / 1e6)}` : "none waits") : "no answer");
  }, () => {});
  const drop = fleet.watch(draw);
  everySecond(host, draw);
  return { destroy: drop };
}
