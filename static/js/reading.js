// How replies are shown: formatted, as their source, or with what differs marked; long ones in
// part or whole. All of it is in the page, so a key shows the other at once; what was chosen stays
// for the pairs to come.
const KEY = "pairloop.view";
const WHOLE = "pairloop.whole";
// A reply is folded to LINES only where that hides more than a few: label.css says the same.
const LINES = 60;
const FEW = 8;
const VIEWS = ["raw", "diff"];

function isWhole() {
  return sessionStorage.getItem(WHOLE) !== null;
}

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
  fold();
}

function long(reply) {
  const text = reply.querySelector("[data-view]:not([hidden])");
  return text.scrollHeight > (LINES + FEW) * parseFloat(getComputedStyle(text).lineHeight);
}

// The whole conversation and the tools of the prompt, and thinking in replies, which arrive folded.
function openParts(whole) {
  document.querySelector(".prompt")?.toggleAttribute("data-whole", whole);
  for (const part of document.querySelectorAll(".prompt details, .reply details")) part.open = whole;
}

// Both sides together, or one would seem the shorter. First all is measured, then all is changed.
function fold() {
  const whole = isWhole();
  for (const button of document.querySelectorAll("[data-fold-switch][aria-pressed]")) {
    button.setAttribute("aria-pressed", String(whole));
  }
  const replies = [...document.querySelectorAll(".reply")].filter((each) => each.querySelector("[data-more]"));
  const lengths = replies.map(long);
  replies.forEach((reply, number) => {
    reply.toggleAttribute("data-folded", lengths[number] && !whole);
    const more = reply.querySelector("[data-more]");
    more.hidden = !lengths[number];
    more.querySelector("span").textContent = whole ? "Show less" : "Show all";
  });
}

function unfold() {
  sessionStorage.setItem(WHOLE, "");
  fold();
}

function foldOrUnfold(event) {
  if (!event.target.closest?.("[data-fold-switch]")) return;
  openParts(!isWhole());
  if (!isWhole()) {
    unfold();
    return;
  }
  sessionStorage.removeItem(WHOLE);
  toNewestTurn();
  fold();
}

// The focus or a search in the page went to a place that is folded away.
function revealed(event) {
  if (!event.target.closest?.("[data-folded]") || !event.target.matches("[data-view]")) return;
  event.target.scrollTop = 0;
  unfold();
}

// The letters of the replies stay in sight below the prompt, which does so too.
const below = new ResizeObserver(([prompt]) => {
  const height = prompt.target.offsetHeight;
  document.documentElement.style.setProperty("--prompt-height", `${height}px`);
});

function watchPrompt() {
  below.disconnect();
  const prompt = document.querySelector(".prompt");
  if (prompt) below.observe(prompt);
}

function choose(event) {
  const button = event.target.closest?.("[data-view-switch]");
  if (!button) return;
  event.preventDefault();
  const view = button.dataset.viewSwitch === chosen() ? "" : button.dataset.viewSwitch;
  sessionStorage.setItem(KEY, view);
  show(view);
}

// The newest turn whole where it fits, with as much of what it refers to as there is room for.
function toNewestTurn() {
  const prompt = document.querySelector(".prompt:has(.earlier)");
  const newest = prompt?.querySelector(".earlier + *").offsetTop - prompt?.querySelector("h3").offsetTop;
  if (!prompt) return;
  prompt.scrollTop = Math.min(prompt.scrollHeight - prompt.clientHeight, newest);
  // Where all of it is open the page is scrolled instead, once the pair stands at its beginning.
  if (isWhole()) queueMicrotask(() => prompt.querySelector(".earlier + *").scrollIntoView({ block: "start" }));
}

function arrived(event) {
  // Guidelines or keys, beside a pair that stays as it is.
  if (event?.target.closest?.("dialog")) return;
  if (isWhole()) openParts(true);
  toNewestTurn();
  show(chosen());
  watchPrompt();
}

export function listen() {
  const asked = new URLSearchParams(location.search);
  const view = asked.get("raw") === "1" ? "raw" : asked.get("view");
  if (view !== null) sessionStorage.setItem(KEY, view);
  arrived();
  document.addEventListener("click", choose);
  document.addEventListener("click", foldOrUnfold);
  document.addEventListener("scroll", revealed, { capture: true });
  window.addEventListener("resize", fold);
  // As soon as a pair is in the page, so that it is not first seen in another form.
  document.addEventListener("htmx:afterSwap", arrived);
  document.addEventListener("htmx:afterSettle", arrived);
  document.addEventListener("pairloop:arrived", arrived);
}

listen();
