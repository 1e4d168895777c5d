// How long a person really looked at a pair, when the first key fell, and what it was pressed
// with. Time in another tab or window does not count as looked.
const SIGNS = ["keydown", "pointerdown", "pointermove", "wheel", "scroll"];
let total = 0;
let since = null;
let arrived = 0;
let first = null;
let input = "key";
let signedAt = performance.now();

function watching() {
  return document.visibilityState === "visible" && document.hasFocus();
}

function update() {
  const now = performance.now();
  if (since !== null) total += now - since;
  since = watching() ? now : null;
}

function touched() {
  first ??= performance.now();
}

export function restart() {
  total = 0;
  first = null;
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

export function onSign(react) {
  for (const name of SIGNS) document.addEventListener(name, react, { capture: true, passive: true });
}

export function measured() {
  update();
  const wall = performance.now() - arrived;
  return {
    active_ms: Math.round(total),
    first_key_ms: Math.round((first ?? performance.now()) - arrived),
    wall_ms: Math.round(wall),
    input,
  };
}

export function listen() {
  restart();
  onSign(() => { signedAt = performance.now(); });
  window.addEventListener("focus", update);
  window.addEventListener("blur", update);
  document.addEventListener("visibilitychange", update);
  document.addEventListener("keydown", touched, { capture: true });
  document.addEventListener("pointerdown", touched, { capture: true });
}
