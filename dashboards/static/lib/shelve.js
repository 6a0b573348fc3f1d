/** Asks in place until when and why an alarm is put aside. There is no endless shelving. */
import { clock } from "./clock.js";
import { h } from "./dom.js";
import { shelve } from "./alarms.js";

const SPANS = [["15 min", 15 * 60e3], ["1 h", 3600e3], ["8 h", 8 * 3600e3]];

/** A form for the alarm; `done()` when it was sent or given up. */
export function shelveForm(alarm, done) {
  const reason = h("input.tf-select", { required: true, maxlength: 200, placeholder: "Why, such as: valve is replaced at 15:00", "aria-label": "Reason" });
  const until = h("input.tf-select", { type: "datetime-local", "aria-label": "Until, UTC" }), own = h("input", { type: "radio", name: "span", value: "until" });
  const pick = SPANS.map(([word, ms], i) => h("label", {}, h("input", { type: "radio", name: "span", value: ms, checked: i === 0 }), word));
  const form = h("form.tf-ask", { "aria-label": `Shelve ${alarm.id}` }, h("p", {}, "Not shown as open until its end; it is raised again if it still holds then."),
    h("div.tf-spans", { role: "radiogroup", "aria-label": "For how long" }, ...pick, h("label", {}, own, "until (UTC)"), until), reason,
    h("div.tf-actions", {}, h("button.tf-button.tf-primary", {}, `Shelve the alarm of ${alarm.twin}`), h("button.tf-plain", { type: "button", onclick: done }, "Cancel")));
  until.addEventListener("input", () => { own.checked = true; });
  form.addEventListener("keydown", (e) => { if (e.key === "Escape") done(); });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = new FormData(form).get("span"), end = chosen === "until" ? Date.parse(`${until.value}Z`) : clock.nowMs() + Number(chosen);
    until.setCustomValidity(end > clock.nowMs() ? "" : "An instant in the future");
    if (!form.reportValidity()) return;
    shelve(alarm, end, reason.value.trim());
    done();
  });
  return { root: form, focus: () => reason.focus() };
}
