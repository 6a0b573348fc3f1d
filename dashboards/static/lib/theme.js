/** Light or dark: as the system says until somebody chooses; the choice is remembered in this browser. */
const SYSTEM = matchMedia("(prefers-color-scheme: dark)");

const system = () => (SYSTEM.matches ? "dark" : "light");

/** The theme that is shown. */
export const theme = () => { try { return localStorage.getItem("tf-theme") ?? system(); } catch { return system(); } };

/** The other theme. Streamlit takes its theme at the start of a page, so the page is loaded anew; all that is chosen is in its address. */
export function switchTheme() {
  const next = theme() === "dark" ? "light" : "dark";
  try { if (next === system()) localStorage.removeItem("tf-theme"); else localStorage.setItem("tf-theme", next); } catch { return; }
  location.reload();
}
