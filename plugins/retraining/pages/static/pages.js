// The pages stand in a frame of Airflow's UI: they take its colour mode, and lead its links out of the frame.
"use strict";

const ui = (() => {
  try {
    return window.parent !== window && window.parent.document ? window.parent : null;
  } catch {
    return null; // another origin's frame
  }
})();

function takeColourMode() {
  const mode = ui
    ? (ui.document.documentElement.classList.contains("dark") ? "dark" : "light")
    : localStorage.getItem("theme");
  if (mode === "dark" || mode === "light") document.documentElement.dataset.theme = mode;
  else delete document.documentElement.dataset.theme;
}

// A theme of one's own ([api] theme) has other colours than Airflow's.
const THEIRS = { page: "bg", text: "fg", muted: "fg-muted" };

function takeColours() {
  takeColourMode();
  if (!ui) return;
  const theirs = ui.getComputedStyle(ui.document.documentElement);
  for (const [ours, name] of Object.entries(THEIRS)) {
    const colour = theirs.getPropertyValue(`--chakra-colors-${name}`);
    if (colour) document.documentElement.style.setProperty(`--${ours}`, colour);
  }
}

takeColours();
if (ui) new MutationObserver(takeColours).observe(ui.document.documentElement, { attributeFilter: ["class"] });

// The frame may not open windows or leave itself, but Airflow's own page may go to another of its places.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[target=_top]");
  if (!link || !ui || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  ui.history.pushState(null, "", link.href);
  ui.dispatchEvent(new PopStateEvent("popstate"));
});
