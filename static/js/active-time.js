// How long a person really looked at a pair, when the first key fell, and what it was pressed
// with. Time counts while the page is in front, and from the last sign of a person on for as long
// as a slow reader needs for the text in sight that had not been read before.
import * as keys from "./key-presses.js";
import { countWords, milliseconds } from "./reading-speed.js";

const SIGNS = ["keydown", "pointerdown", "pointermove", "wheel", "touchmove", "scroll"];
const BLOCKS = ".prompt .prose > *, .reply .prose > *, .reply pre.raw";
// What the page scrolls itself when a pair arrives.
const OWN_SCROLL_MS = 300;
let total = 0;
let since = null;
let arrived = 0;
let first = null;
let input = "key";
let signedAt = performance.now();
let read = new WeakSet();

function watching() {
  return document.visibilityState === "visible" && document.hasFocus();
}

function pace() {
  return document.getElementById("screen").dataset.reading.split(" ").map(Number);
}

function inSight(block) {
  const { top, bottom, left, right, height } = block.getBoundingClientRect();
  return height > 0 && bottom > 0 && top < innerHeight && right > 0 && left < innerWidth;
}

// Counts what has passed. The text is looked at only where nobody gave a sign for a while; what
// was in sight while its time ran out has been read.
function settle() {
  const now = performance.now();
  if (since === null) return;
  const silent = now - signedAt;
  let until = now;
  if (silent > milliseconds(0, pace())) {
    const unread = [...document.querySelectorAll(BLOCKS)].filter((block) => !read.has(block) && inSight(block));
    const counts = milliseconds(countWords(unread.map((block) => block.textContent).join("\n")), pace());
    if (silent > counts) {
      until = signedAt + counts;
      for (const block of unread) read.add(block);
    }
  }
  total += Math.max(until - since, 0);
  since = now;
}

function update() {
  settle();
  since = watching() ? performance.now() : null;
  if (since !== null) signedAt = since;
}

function sign() {
  settle();
  signedAt = performance.now();
}

function touched(event) {
  if (event.isTrusted) first ??= performance.now();
}

// The sign that brought the pair is not given again by its arrival: it may come by itself.
export function restart() {
  total = 0;
  first = null;
  read = new WeakSet();
  arrived = performance.now();
  since = watching() ? arrived : null;
}

// A button pressed by a key carries no count of clicks.
export function pressed(event) {
  input = event.detail === 0 ? "key" : event.pointerType === "touch" ? "touch" : "click";
}

// Milliseconds since the last sign of somebody at the page.
export function idle() {
  return performance.now() - signedAt;
}

// Signs are given by people, not by scripts.
export function onSign(react) {
  const given = (event) => event.isTrusted && !(event.type === "scroll" && keys.sinceChange() < OWN_SCROLL_MS);
  for (const name of SIGNS) {
    document.addEventListener(name, (event) => given(event) && react(event), { capture: true, passive: true });
  }
}

export function measured() {
  settle();
  const most = milliseconds(Number(document.getElementById("screen").dataset.words), pace());
  return {
    active_ms: Math.round(Math.min(total, most)),
    first_key_ms: Math.round((first ?? performance.now()) - arrived),
    wall_ms: Math.round(performance.now() - arrived),
    input,
  };
}

export function listen() {
  restart();
  onSign(sign);
  window.addEventListener("focus", update);
  window.addEventListener("blur", update);
  document.addEventListener("visibilitychange", update);
  document.addEventListener("keydown", touched, { capture: true });
  document.addEventListener("pointerdown", touched, { capture: true });
}
