// How long a person really looked at a pair: time in another tab or window does not count.
let total = 0;
let since = null;

function watching() {
  return document.visibilityState === "visible" && document.hasFocus();
}

function update() {
  const now = performance.now();
  if (since !== null) total += now - since;
  since = watching() ? now : null;
}

export function restart() {
  total = 0;
  since = watching() ? performance.now() : null;
}

export function activeMs() {
  update();
  return Math.round(total);
}

export function listen() {
  restart();
  window.addEventListener("focus", update);
  window.addEventListener("blur", update);
  document.addEventListener("visibilitychange", update);
}
