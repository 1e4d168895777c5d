// The pair on the screen: putting another in its place, and saying what became of the last act.
import * as activeTime from "./active-time.js";
import * as dialogs from "./dialogs.js";
import * as keys from "./key-presses.js";

const LONGEST_NAME = 80;
let token = "";
// "pair" while the act stands and the next pair is not here, "undo" while one is taken back.
let awaited = "";

export const current = () => document.getElementById("screen");
export const waitsFor = () => awaited;

export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

export const said = () => document.getElementById("state").textContent;

export function say(text, level = "idle") {
  const state = document.getElementById("state");
  state.className = `state state-${level}`;
  state.textContent = text;
  document.getElementById("bar").toggleAttribute("data-unsaved", level === "unsaved");
}

// The pair in sight by the beginning of what was asked.
export function firstWords() {
  const text = [...document.querySelectorAll(".prompt > .prose")].at(-1)?.textContent ?? "";
  return text.trim().replace(/\s+/g, " ").slice(0, LONGEST_NAME);
}

// The note and the counts of an answer, on a screen that has gone on already.
export function report(answer) {
  for (const part of ["#state", ".tally"]) current().querySelector(part).replaceWith(answer.querySelector(part).cloneNode(true));
  document.getElementById("bar").removeAttribute("data-unsaved");
}

export function wait(what, button) {
  awaited = what;
  const bar = document.getElementById("bar");
  bar.dataset.busy = "";
  if (button) button.dataset.chosen = "";
}

// In place of the pair on the screen, within the very frame of the key.
export function show(next) {
  next.querySelector(".tally").replaceWith(current().querySelector(".tally").cloneNode(true));
  replace(next);
}

// What is said of the act before stands in a place that every screen keeps for it.
export function placeLast() {
  current().querySelector(".last-place").append(document.getElementById("last"));
}

export function replace(next, note) {
  keys.screenChanged();
  const last = document.getElementById("last");
  next.querySelector(".last-place").append(last);
  current().replaceWith(next);
  if (note) say(note);
  window.htmx.process(next);
  document.dispatchEvent(new CustomEvent("pairloop:arrived"));
  arrived();
}

export function arrived() {
  const before = token;
  token = current().dataset.token;
  awaited = "";
  dialogs.showButtons();
  const note = said().trim();
  if (token === before) {
    if (note) announce(note);
    return;
  }
  keys.screenChanged();
  activeTime.restart();
  window.scrollTo(0, 0);
  document.querySelector("#prompt-title, #empty-title").focus({ preventScroll: true });
  const now = token ? (before ? "Next pair." : "A new pair has arrived.") : "Nothing to compare just now.";
  announce(note ? `${note}. ${now}` : now);
}

export function begin() {
  token = current().dataset.token;
  dialogs.showButtons();
  placeLast();
}
