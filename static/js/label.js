// The labelling screen: what happens when a pair comes.
import * as activity from "./activity.js";
import * as dialogs from "./dialogs.js";
import * as keys from "./keys.js";
import * as saving from "./saving.js";

const screen = () => document.getElementById("screen");
let token = screen().dataset.token;

function announce(text) {
  document.getElementById("announcer").textContent = text;
}

function arrived() {
  const before = token;
  token = screen().dataset.token;
  dialogs.showButtons();
  const note = document.getElementById("state").textContent.trim();
  if (token === before) {
    if (note) announce(note);
    return;
  }
  keys.screenChanged();
  activity.restart();
  window.scrollTo(0, 0);
  document.querySelector("#prompt-title, #empty-title").focus({ preventScroll: true });
  const now = token ? (before ? "Next pair." : "A new pair has arrived.") : "Nothing to compare just now.";
  announce(note ? `${note}. ${now}` : now);
}

// From the swap on, not from the settling 20 ms later: a click in between would be a second vote.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id === "screen") keys.screenChanged();
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.elt.id === "screen" || event.target.id === "screen") arrived();
});
dialogs.showButtons();
dialogs.listen();
activity.listen();
keys.listen();
saving.listen();
