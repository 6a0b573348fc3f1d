/** Loaded by the index page, before Streamlit draws: opens the socket and keeps Streamlit's chrome out of the way. */
import "./lib.js";
import { pageLinks, route } from "./lib/clock.js";

/** Dialogs and toasts are mounted outside .stApp; they take its colour scheme from the document. */
function copyScheme() {
  const app = document.querySelector(".stApp");
  const scheme = app && getComputedStyle(app).colorScheme;
  if (scheme && document.documentElement.style.colorScheme !== scheme) document.documentElement.style.colorScheme = scheme;
}

/** The link state in the top bar tells of a lost server; Streamlit's own dialog would make all of the page inert. */
function quietDialog() {
  for (const dialog of document.querySelectorAll("[role=dialog]")) {
    if (!/connect/i.test(dialog.textContent)) continue;
    (dialog.closest("[data-baseweb=modal], .stDialog") ?? dialog).style.display = "none";
    for (const node of document.querySelectorAll("[inert]")) node.removeAttribute("inert");
  }
}

/** Streamlit's page links carry no aria-current. */
function markPage() {
  for (const { anchor, page } of pageLinks()) {
    if ((page === route.page) === (anchor.getAttribute("aria-current") === "page")) continue;
    if (page === route.page) anchor.setAttribute("aria-current", "page"); else anchor.removeAttribute("aria-current");
  }
}

/** A button that was clicked gives the keyboard back, so Space pauses; one reached by Tab keeps it. */
addEventListener("click", (event) => { if (event.detail > 0) event.target.closest?.(".tf-view button")?.blur(); });

let due = false;
function check() {
  due = false;
  copyScheme(); quietDialog(); markPage();
}
const soon = () => { if (!due) { due = true; setTimeout(check, 50); } };
new MutationObserver(soon).observe(document.body ?? document.documentElement,
  { childList: true, subtree: true, attributes: true, attributeFilter: ["inert", "class"] });
route.onChange(soon);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
