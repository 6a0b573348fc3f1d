/** Mark and name. */
import { h } from "../lib.js";

export default function brand(host) {
  const mark = h("span.tf-mark", { "aria-hidden": true });
  mark.innerHTML = '<svg viewBox="0 0 20 20" width="20" height="20"><path d="M1 6c5 0 5 8 9 8s4-8 9-8" fill="none" stroke="var(--tf-ink1)" stroke-width="2"/>'
    + '<path d="M1 14c5 0 5-8 9-8s4 8 9 8" fill="none" stroke="var(--tf-s2)" stroke-width="2"/></svg>';
  host.append(h("div.tf-brand", {}, mark, h("strong", {}, "twinflow")));
}
