/** Runs before anything is drawn: a chosen theme is told to Streamlit by its own key, which it reads once per address. */
(() => {
  try {
    const chosen = localStorage.getItem("tf-theme"), theirs = `stActiveTheme-${location.pathname}-v2`;
    if (chosen === "dark" || chosen === "light") {
      localStorage.setItem(theirs, JSON.stringify(chosen === "dark" ? "Dark" : "Light"));
      document.documentElement.style.colorScheme = chosen;
    } else localStorage.removeItem(theirs);
  } catch { /* a browser that keeps nothing follows its system */ }
})();
