// One vote, one request. What could not be sent is kept and sent again with the same token;
// the server stores a token's vote once, however often it arrives.
import { activeMs } from "./activity.js";
import { forget, keep, resume } from "./kept.js";
import { sinceChange } from "./keys.js";

const DELAYS = [1000, 2000, 4000, 8000, 15000];
const DOUBLE_CLICK_MS = 350;
let tries = 0;
let timer = 0;

function tell(bar, text) {
  const state = bar.querySelector("#state");
  state.className = "state state-unsaved";
  state.textContent = text;
  bar.dataset.unsaved = "";
  document.getElementById("announcer").textContent = text;
}

// A second click or another key while the first choice is on its way, or the second half of a
// double click that would fall on the next pair. Stopped before htmx sees it, which would
// remember the button and send its value with the next try.
function guard(event) {
  const bar = event.target.closest?.("#bar");
  if (!bar || "again" in bar.dataset) return;
  const late = event.isTrusted && event.detail > 0 && sinceChange() < DOUBLE_CLICK_MS;
  if (!late && !("busy" in bar.dataset)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function begin(event) {
  const { target: bar, submitter } = event;
  if (bar.id !== "bar") return;
  const clock = bar.elements.active_ms;
  if (clock && !("again" in bar.dataset)) clock.value = activeMs();
  delete bar.dataset.again;
  bar.dataset.busy = "";
  submitter.dataset.chosen = "";
  // Undo without the token of what it takes back could, sent twice, take back two votes.
  bar.dataset.repeatable = submitter.dataset.key !== "u" || bar.elements.last.value !== "" ? "yes" : "";
  if (bar.dataset.repeatable) keep(bar, submitter);
}

function again(bar) {
  clearTimeout(timer);
  if (!bar.isConnected) return;
  bar.dataset.again = "";
  bar.querySelector("[data-chosen]").click();
}

function end(event) {
  const bar = event.detail.elt;
  if (bar.id !== "bar") return;
  const { xhr } = event.detail;
  const status = xhr.status;
  // Signed out meanwhile: htmx goes to the sign-in page, and the vote is sent after that.
  if (xhr.getResponseHeader("HX-Redirect")) return;
  const failed = status === 0 || status === 429 || status >= 500;
  if (failed && !bar.dataset.repeatable) {
    tell(bar, "Not undone: the server did not answer. Reload this page.");
    return;
  }
  if (failed) {
    const delay = DELAYS[Math.min(tries++, DELAYS.length - 1)];
    const caption = bar.querySelector("[data-chosen]").dataset.caption;
    tell(bar, `Not saved yet: ${caption}. Trying again …`);
    timer = setTimeout(again, delay, bar);
    return;
  }
  tries = 0;
  if (status === 403) {
    tell(bar, "Not saved yet: you were signed in again elsewhere. Reload this page.");
    return;
  }
  forget();
  if (status >= 400 && status !== 409) tell(bar, "This pair is no longer yours. Reload this page.");
}

export function listen() {
  document.addEventListener("click", guard, { capture: true });
  document.addEventListener("submit", begin, { capture: true });
  document.addEventListener("htmx:afterRequest", end);
  window.addEventListener("online", () => {
    const bar = document.querySelector("#bar[data-unsaved]");
    if (bar) again(bar);
  });
  window.addEventListener("beforeunload", (event) => {
    if (document.querySelector("#bar[data-unsaved]")) event.preventDefault();
  });
  // Not before htmx has found the form.
  document.addEventListener("DOMContentLoaded", resume);
}
