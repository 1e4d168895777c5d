// The heartbeat: while somebody is at the page, the pair before their eyes stays theirs, and so
// does the one fetched ahead.
import * as activeTime from "./active-time.js";
import * as ahead from "./ahead.js";
import * as screen from "./screen.js";
import * as server from "./server.js";

// Per lease, so that one may get lost on the way.
const BEATS = 3;
let beatAt = 0;
let timer = 0;
let lost = () => {};

// NaN where there is no pair; no comparison with it holds.
const lasts = () => 1000 * Number.parseInt(screen.current().dataset.lease, 10);

// Who has not touched anything for as long as a lease lasts has left: the pair goes to others.
function attended() {
  return document.visibilityState === "visible" && activeTime.idle() < lasts();
}

async function renew(token) {
  const { page } = screen.current().dataset;
  const { status } = await server.post(`${page}${token}/renew/`).catch(() => ({ status: 0 }));
  if (status === 410) lost(token);
}

// Without an answer the next beat tries again.
function beat() {
  clearTimeout(timer);
  if (!attended()) return;
  beatAt = performance.now();
  timer = setTimeout(beat, lasts() / BEATS);
  for (const token of [screen.current().dataset.token, ahead.token()]) if (token) renew(token);
}

// Back after a while without a beat.
function sign() {
  if (performance.now() - beatAt > lasts() / BEATS) beat();
}

export function listen(onLost) {
  lost = onLost;
  beatAt = performance.now();
  timer = setTimeout(beat, lasts() / BEATS);
  activeTime.onSign(sign);
  document.addEventListener("visibilitychange", beat);
  window.addEventListener("online", beat);
}
