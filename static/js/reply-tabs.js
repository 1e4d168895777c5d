// Two long replies on a narrow screen lie beside each other: a swipe, a tap or a key shows the other
// one, at the place where it was left.
const cards = () => document.querySelector(".replies[data-long]");
const tabs = () => [...document.querySelectorAll(".reply-tab")];
let shown = 0;
let left = [];

// Side by side there is nothing to swipe.
function swipes() {
  return cards() !== null && cards().scrollWidth > cards().clientWidth + 1;
}

function top() {
  return cards().getBoundingClientRect().top + scrollY - document.querySelector(".reply-tabs").offsetHeight;
}

function settled() {
  if (!swipes()) return;
  const now = Math.round(cards().scrollLeft / cards().clientWidth);
  if (now === shown) return;
  left[shown] = scrollY;
  shown = now;
  for (const tab of tabs()) tab.removeAttribute("aria-current");
  tabs()[now].setAttribute("aria-current", "true");
  // A reply that is seen for the first time begins at its beginning.
  window.scrollTo(0, left[now] ?? Math.min(scrollY, top()));
}

function turn(number) {
  cards().scrollTo({ left: number * cards().clientWidth });
  settled();
}

function pressed(event) {
  const tab = event.target.closest?.(".reply-tab");
  const other = event.target.closest?.("[data-other-tab]");
  if (!tab && !other) return;
  event.preventDefault();
  if (swipes()) turn(tab ? Number(tab.dataset.tab) : 1 - shown);
}

function arrived() {
  shown = 0;
  left = [];
}

document.addEventListener("click", pressed);
document.addEventListener("scrollend", settled, { capture: true });
document.addEventListener("htmx:afterSettle", arrived);
document.addEventListener("pairloop:arrived", arrived);
