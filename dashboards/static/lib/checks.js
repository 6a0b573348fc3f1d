/** The gate's checks in their order, each with what it looked at and the limit it held that against. */
import { h } from "./dom.js";
import { exact, title } from "./format.js";
import { shape } from "./shapes.js";

const ORDER = ["schema", "signature", "key", "deadline", "sequence", "idempotency", "role", "second_approval", "rate", "interlocks", "envelope", "dispatch"];
const NAMES = { deadline: "Time window", idempotency: "First time seen", schema: "Arguments", dispatch: "Room at the device" };

export const checkName = (check) => NAMES[check] ?? title(check);

/** A list of {check, passed, value, limit, why}; null where there is none. What was not looked at any more is named as such. */
export function checkList(detail) {
  if (!Array.isArray(detail) || !detail.length) return null;
  const told = new Set(detail.map((k) => k.check)), rest = ORDER.filter((name) => !told.has(name)).map((check) => ({ check, passed: undefined }));
  return h("div.tf-checks", { role: "list" }, ...[...detail, ...rest].map(row));
}

function row(k) {
  const [said, held] = words(k);
  return h(`div.tf-check${k.passed === false ? ".tf-stopped" : k.passed ? "" : ".tf-unset"}`, { role: "listitem", "data-check": k.check },
    k.passed === true ? shape("passed", 12) : k.passed === false ? shape("refused", 12) : h("span.tf-note", { title: k.passed === null ? "Not set up" : "Not reached" }, "–"),
    h("span", {}, checkName(k.check)), h("span.tf-checksaid", {}, said), h("span.tf-took", {}, held));
}

/** [what was found, value against limit]. */
function words(k) {
  const short = (x) => (typeof x === "number" ? exact(x) : typeof x === "string" ? x : "");
  const pair = typeof k.value === "number" && typeof k.limit === "number" ? `${exact(k.value)} of ${exact(k.limit)}` : short(k.limit) ? `${short(k.value)} / ${short(k.limit)}` : "";
  if (k.passed === undefined) return ["not reached", ""];
  if (k.passed === null) return [k.why === "not configured" ? "not set up" : k.why || "not set up", ""];
  if (k.check === "deadline") return [k.passed ? `asked ${exact(k.value)} s ago` : k.why, `at most ${short(k.limit)} s`];
  if (k.check === "dispatch" && typeof k.limit === "number") return [k.why, `${exact(k.value)} open of ${exact(k.limit)}`];
  if (k.check === "schema") return [k.passed ? `${k.value} of ${k.why}` : k.why, k.passed ? "" : short(k.value)];
  return [k.why || "passed", k.check === "idempotency" ? "" : pair];
}
