// Giving an action another key: its button in the list of keys is pressed, then the key. What
// becomes of it is said in the dialog, for eyes and ears. It comes with the list, once that is opened.
import * as keymap from "./own-keys.js";
import * as keys from "./key-presses.js";

const MODIFIERS = ["Shift", "Control", "Alt", "AltGraph", "Meta"];
const dialog = document.getElementById("help");
let asking = null;

// Nowhere as long as the list is on its way.
function say(text) {
  const said = document.getElementById("keys-said");
  if (said) said.textContent = text;
}

function stop() {
  asking?.removeAttribute("data-asking");
  asking = null;
}

function ask(button) {
  stop();
  asking = button;
  button.dataset.asking = "";
  say(`Press the new key for “${button.dataset.caption}”. Escape leaves it as it is.`);
}

function leave() {
  if (asking) say("Left as it was.");
  stop();
}

// Why this cannot be the key; nothing when it can.
function refusal(name) {
  if (name.length > 1 || name === " ") return "Only letters, digits and signs can be keys.";
  const other = keymap.meant(name);
  if (other === asking.dataset.change) return "";
  const row = dialog.querySelector(`[data-change="${CSS.escape(other)}"]`);
  if (row) return `“${name}” already is “${row.dataset.caption}”.`;
  if (/[1-9]/.test(other)) return `“${name}” is a vote in projects with more answers.`;
  return "";
}

function record(event) {
  if (!asking || MODIFIERS.includes(event.key) || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Tab") return;
  event.preventDefault();
  if (event.repeat) return;
  if (event.key === "Escape") {
    leave();
    return;
  }
  const { caption, change } = asking.dataset;
  const name = keys.nameOf(event);
  const refused = refusal(name);
  if (refused) {
    say(`${refused} Press another one, or Escape.`);
    return;
  }
  keymap.change(change, name);
  keys.print();
  say(`${caption}: ${name}.`);
  stop();
}

function reset() {
  stop();
  keymap.reset();
  keys.print();
  say("All keys are as they were at first.");
}

function listen() {
  // Before the key does what it does elsewhere.
  document.addEventListener("keydown", record, { capture: true });
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("[data-change]");
    if (button) ask(button);
    if (event.target.closest("[data-reset-keys]")) reset();
  });
  dialog.addEventListener("focusout", leave);
  dialog.addEventListener("close", () => say(""));
}

listen();
