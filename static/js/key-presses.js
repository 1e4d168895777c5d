// Keys press the buttons that carry them, so mouse, keys and screen readers are one path: data-key
// is an action's own key, which a person may change, data-letter one that counts in its place only.
import * as keymap from "./own-keys.js";

const QUIET_MS = 150;
const TYPING = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";
const SWITCH = "pairloop.keys";
const SIGNS = { ArrowLeft: "←", ArrowDown: "↓", ArrowRight: "→", Backspace: "⌫" };
let changedAt = -Infinity;

// A key that was meant for the pair before must not vote on the one that just came.
export function screenChanged() {
  changedAt = performance.now();
}

export function sinceChange() {
  return performance.now() - changedAt;
}

export function nameOf(event) {
  // AZERTY types digits with shift: there the place of the key counts, not its sign.
  const digit = /^Digit([1-9])$/.exec(event.code);
  if (digit && !event.shiftKey) return digit[1];
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

function ignored(event) {
  if (event.defaultPrevented || event.repeat || event.isComposing) return true;
  if (event.ctrlKey || event.altKey || event.metaKey) return true;
  return event.target.closest?.(TYPING) || sinceChange() < QUIET_MS;
}

// An arrow in a box that it scrolls: a long prompt, a wide table or formula.
function scrolls(event) {
  const box = event.target;
  const style = getComputedStyle(box);
  if (event.key === "ArrowDown") return style.overflowY === "auto" && box.scrollHeight > box.clientHeight + 1;
  const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
  return sideways && style.overflowX === "auto" && box.scrollWidth > box.clientWidth + 1;
}

// With a dialog open, what is in it and what closes it; else whatever is shown.
function reachable(button, open) {
  if (!open) return !button.closest("[hidden], dialog, [popover]");
  return open.contains(button) || button.dataset.opens === open.id || button.popoverTargetElement === open;
}

function press(event) {
  const open = document.querySelector("dialog[open], :popover-open");
  if (ignored(event) || scrolls(event)) return;
  const name = nameOf(event);
  const meant = keymap.meant(name);
  const carrying = (attribute, value) =>
    [...document.querySelectorAll(`[${attribute}~="${CSS.escape(value)}"]`)].find((each) => reachable(each, open));
  const button = carrying("data-key", meant) ?? carrying("data-letter", name);
  if (!button) return;
  if (!enabled() && meant !== "?") return;
  event.preventDefault();
  button.click();
}

function enabled() {
  return localStorage.getItem(SWITCH) !== "off";
}

function switched(event) {
  if (event.target.matches?.("[data-use-keys]")) localStorage.setItem(SWITCH, event.target.checked ? "on" : "off");
}

// The keys as this person has them, and whether they are on. A letter that presses something else is not printed.
export function print() {
  for (const box of document.querySelectorAll("[data-use-keys]")) box.checked = enabled();
  for (const kbd of document.querySelectorAll("[data-key] > kbd, kbd[data-prints]")) {
    const name = keymap.chosen(kbd.dataset.prints ?? kbd.parentElement.dataset.key.split(" ")[0]);
    kbd.textContent = SIGNS[name] ?? name;
  }
  for (const kbd of document.querySelectorAll("[data-letter]:not([popover] *) kbd")) {
    const { letter } = kbd.closest("[data-letter]").dataset;
    const meant = keymap.meant(letter);
    kbd.hidden = meant !== letter && document.querySelector(`[data-key~="${CSS.escape(meant)}"]`) !== null;
  }
}

export function listen() {
  print();
  document.addEventListener("htmx:afterSwap", print);
  document.addEventListener("pairloop:arrived", print);
  keymap.listen(print);
  document.addEventListener("keydown", press);
  document.addEventListener("change", switched);
}
