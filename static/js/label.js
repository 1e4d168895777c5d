// The labelling screen: a key shows the next pair at once, and what it said is saved behind it.
import * as activeTime from "./active-time.js";
import * as ahead from "./ahead.js";
import * as dialogs from "./dialogs.js";
import * as keys from "./key-presses.js";
import * as last from "./last-act.js";
import * as saving from "./sending-votes.js";
import * as screen from "./screen.js";
import * as server from "./server.js";
import * as unsent from "./unsent-list.js";

const DOUBLE_CLICK_MS = 350;
const OTHERS = "Somebody else’s votes wait in this browser until they sign in again.";
// Here two long replies lie one beside the other: label.css says the same.
const NARROW = matchMedia("(max-width: 899px)");
// What only some pairs need, loaded with the first that does; each sees to later ones itself.
const PARTS = {
  "#criteria": () => import("./criteria.js"),
  ".reply-tabs": async () => NARROW.matches && import("./reply-tabs.js"),
  ".prose pre > code": () => import("./copying.js"),
};
// So that the next pair and the heartbeat do not hold up the first.
const SETTLED_MS = 200;
const RETRY_MS = 15_000;
const SAVING = "Saving …";
const LOST = "The pair before is no longer yours; this is another.";

// A second choice while the first waits for its pair, or the half of a double click that falls on the next.
function guard(event) {
  const bar = event.target.closest?.("#bar");
  if (!bar) return;
  const late = event.isTrusted && event.detail > 0 && keys.sinceChange() < DOUBLE_CLICK_MS;
  activeTime.pressed(event);
  if (!late && !("busy" in bar.dataset)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function fields(bar, button, undoes) {
  const data = new URLSearchParams(new FormData(bar, button));
  data.delete("csrfmiddlewaretoken");
  if (undoes !== undefined) data.set("last", undoes);
  else for (const [name, value] of Object.entries(activeTime.measured())) data.set(name, value);
  return String(data);
}

// button.formAction is the page itself where the attribute is missing.
function describe(bar, button) {
  const kind = button.dataset.key === "u" ? "undo" : "act";
  const undoes = kind === "undo" ? (unsent.acts().at(-1) ?? "") : undefined;
  return {
    kind,
    token: undoes ?? screen.current().dataset.token,
    url: button.getAttribute("formaction") ?? bar.getAttribute("action"),
    body: fields(bar, button, undoes),
    caption: button.dataset.caption,
    // Undo without the token of what it takes back could, sent twice, take back two votes.
    repeatable: undoes !== "",
  };
}

function takeBack(button) {
  last.hide();
  screen.wait("undo", button);
  screen.say("Taking back …");
}

function goOn(act, button) {
  unsent.setActs([...unsent.acts(), act.token]);
  ahead.judged(act.token);
  last.about(act.token, act.caption);
  const next = ahead.take();
  if (next) screen.show(next);
  else screen.wait("pair", button);
  screen.say(SAVING);
  if (next) screen.announce(`${act.caption}. Next pair.`);
}

function press(event) {
  const { target: bar, submitter: button } = event;
  if (bar.id !== "bar") return;
  event.preventDefault();
  const act = describe(bar, button);
  if (act.kind === "undo") takeBack(button);
  else goOn(act, button);
  saving.add(act);
}

// A screen from the server: shown where one is waited for, kept for the next key elsewhere.
function use(page) {
  if (screen.waitsFor() === "pair" && ahead.fresh(page)) screen.replace(page);
  else ahead.offer(page);
}

// What is said to be saved is all that was pressed: not while a later act is on its way.
function speakForAll(page) {
  const note = page.querySelector("#state.state-success");
  if (!note || !unsent.all().some(({ kind }) => kind === "act")) return;
  note.className = "state";
  note.textContent = SAVING;
}

function answered(act, { status, screen: page }) {
  if (act.kind === "undo") {
    undone(act, status, page);
    return;
  }
  if (act.kind === "remark") {
    last.answered(act, status);
    return;
  }
  if (!page) {
    const why = status === 404 ? "its pair is no longer yours" : "the server refused it";
    screen.say(`${act.caption} was not saved: ${why}.`, "error");
    return;
  }
  speakForAll(page);
  if (screen.waitsFor() === "pair" && (ahead.fresh(page) || !unsent.all().length)) {
    screen.replace(page);
    return;
  }
  if (screen.waitsFor() !== "undo") screen.report(page);
  ahead.offer(page);
}

function undone(act, status, page) {
  unsent.setActs(status === 200 ? unsent.acts().filter((token) => token !== act.token) : []);
  ahead.drop();
  if (!page) return;
  ahead.takenBack(page.dataset.token);
  screen.replace(page);
}

// Another tab may have sent what this one waits for; then the server says what comes now.
async function drained() {
  if (document.querySelector("#bar[data-unsaved]") || screen.said() === SAVING) screen.say("✓ Saved", "success");
  if (screen.waitsFor()) {
    const { screen: page } = await server.get().catch(() => ({}));
    if (page && screen.waitsFor()) screen.replace(page);
  }
  ahead.look(use);
}

// The lease of the pair shown, or of the one fetched ahead, has ended.
async function lost(token) {
  if (token === ahead.token()) ahead.drop();
  if (token === screen.current().dataset.token && !screen.waitsFor()) {
    const { screen: page } = await server.get().catch(() => ({}));
    // Judged meanwhile, or leased again because nobody else had come for it.
    if (!page || token !== screen.current().dataset.token || token === page.dataset.token) return;
    ahead.drop();
    screen.replace(page, LOST);
  }
  ahead.look(use);
}

function loadParts() {
  for (const [what, load] of Object.entries(PARTS)) {
    // Without a connection the pair is judged as without scripts, and the next one tries again.
    if (document.querySelector(what)) load().catch(() => {});
  }
}

function settled() {
  ahead.look(use);
  import("./lease.js").then(
    (lease) => lease.listen(lost),
    () => setTimeout(settled, RETRY_MS),
  );
}

function resume() {
  if (unsent.areOthers()) screen.say(OTHERS);
  if (unsent.has(screen.current().dataset.token)) screen.wait("pair");
  if (unsent.all().length) saving.drain();
}

// From the swap on, not from the settling 20 ms later: a click in between would be a second vote.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "screen") return;
  keys.screenChanged();
  document.body.append(document.getElementById("last"));
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.elt.id !== "screen" && event.target.id !== "screen") return;
  screen.placeLast();
  screen.arrived();
  ahead.drop();
  ahead.look(use);
});
document.addEventListener("click", guard, { capture: true });
document.addEventListener("submit", press);
screen.begin();
dialogs.listen();
activeTime.listen();
keys.listen();
last.listen();
saving.listen(answered, drained);
// Not before htmx is there, which makes the parts of a new screen live.
document.addEventListener("DOMContentLoaded", resume);
window.addEventListener("load", () => setTimeout(settled, SETTLED_MS));
NARROW.addEventListener("change", loadParts);
document.addEventListener("pairloop:arrived", loadParts);
document.addEventListener("htmx:afterSettle", loadParts);
loadParts();
