// One act, one request, in the order of the keys. What could not be sent is sent again with the
// same token; the server stores a token's vote once, however often it arrives.
import * as server from "./server.js";
import * as screen from "./screen.js";
import * as unsent from "./unsent-list.js";

const DELAYS = [1000, 2000, 4000, 8000, 15000];
const OFFLINE = "Offline. What you press is kept in this browser and sent later.";
const RENEWED = "Not saved yet: you were signed in again elsewhere. Reload this page.";
let tries = 0;
let timer = 0;
let sending = false;
let leaving = false;
let answered = () => {};
let drained = () => {};

function unsaved(text) {
  screen.say(text, "unsaved");
  screen.announce(text);
}

// Acts of another project's page are sent from here too; only the answer means nothing here.
function own(act) {
  return act.url.startsWith(screen.current().dataset.page);
}

function failed(act) {
  if (!act.repeatable) {
    unsent.remove(act);
    unsaved("Not undone: the server did not answer. Reload this page.");
    return;
  }
  const waiting = unsent.all();
  const what = waiting.length > 1 ? `${waiting.length} acts, the last ${waiting.at(-1).caption}` : act.caption;
  if (navigator.onLine) unsaved(`Not saved yet: ${what}. Trying again …`);
  else unsaved(`Offline. Not saved yet: ${what}. Sent as soon as you are online.`);
  timer = setTimeout(drain, DELAYS[Math.min(tries++, DELAYS.length - 1)]);
}

function body(act) {
  const data = new URLSearchParams(act.body);
  if (own(act)) data.set("after", screen.current().dataset.token);
  return data;
}

// True when the list may go on with the next act.
async function send(act) {
  let answer;
  try {
    answer = await server.post(act.url, body(act));
  } catch {
    answer = { status: 0 };
  }
  if (answer.leave) {
    // Signed out meanwhile: the list is sent after signing in.
    leaving = true;
    location.assign(answer.leave);
    return false;
  }
  if (answer.status === 0 || answer.status === 429 || answer.status >= 500) {
    failed(act);
    return false;
  }
  if (answer.status === 403) {
    unsaved(RENEWED);
    return false;
  }
  tries = 0;
  unsent.remove(act);
  if (own(act)) answered(act, answer);
  return true;
}

export async function drain() {
  if (sending || leaving) return;
  clearTimeout(timer);
  sending = true;
  try {
    for (let act; (act = unsent.all()[0]); ) if (!(await send(act))) return;
  } finally {
    sending = false;
  }
  drained();
}

export function add(act) {
  unsent.add(act);
  drain();
}

export function listen(onAnswer, onDrained) {
  answered = onAnswer;
  drained = onDrained;
  window.addEventListener("offline", () => screen.say(OFFLINE, unsent.all().length ? "unsaved" : "error"));
  window.addEventListener("online", () => {
    screen.say("Online again.");
    drain();
  });
  window.addEventListener("storage", (event) => {
    // Another tab has sent what this one was trying to.
    if (event.key && unsent.isOwn(event.key) && !unsent.all().length && timer) drain();
  });
  window.addEventListener("beforeunload", (event) => {
    if (!leaving && document.querySelector("#bar[data-unsaved]")) event.preventDefault();
  });
}
