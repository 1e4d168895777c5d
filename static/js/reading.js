// How replies are shown: formatted, as their source, or with what differs marked. Both forms are
// in the page, so a key shows the other at once; what was chosen stays for the pairs to come.
const KEY = "pairloop.view";
const VIEWS = ["raw", "diff"];

function chosen() {
  const view = sessionStorage.getItem(KEY) ?? "";
  return VIEWS.includes(view) ? view : "";
}

function show(view) {
  for (const part of document.querySelectorAll(".reply [data-view]")) {
    part.hidden = (part.dataset.view === "source") !== (view !== "");
    if (part.dataset.view === "source") part.classList.toggle("diff", view === "diff");
  }
  for (const button of document.querySelectorAll("[data-view-switch]")) {
    button.setAttribute("aria-pressed", String(button.dataset.viewSwitch === view));
  }
}

function choose(event) {
  const button = event.target.closest?.("[data-view-switch]");
  if (!button) return;
  event.preventDefault();
  const view = button.dataset.viewSwitch === chosen() ? "" : button.dataset.viewSwitch;
  sessionStorage.setItem(KEY, view);
  show(view);
}

function arrived() {
  show(chosen());
}

export function listen() {
  const asked = new URLSearchParams(location.search);
  const view = asked.get("raw") === "1" ? "raw" : asked.get("view");
  if (view !== null) sessionStorage.setItem(KEY, view);
  arrived();
  document.addEventListener("click", choose);
  // As soon as a pair is in the page, so that it is not first seen in another form.
  document.addEventListener("htmx:afterSwap", arrived);
  document.addEventListener("htmx:afterSettle", arrived);
  document.addEventListener("pairloop:arrived", arrived);
}

listen();
