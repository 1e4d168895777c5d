// The next pair, fetched while the person reads, so that a key shows it at once.
import * as server from "./server.js";
import * as screen from "./screen.js";
import * as unsent from "./unsent-list.js";

const acted = new Set();
let kept = null;
let asking = false;
let dry = "";

export function take() {
  const next = kept;
  kept = null;
  return next;
}

export function drop() {
  kept = null;
  dry = "";
}

export function token() {
  return kept?.dataset.token;
}

export function judged(token) {
  acted.add(token);
}

export function takenBack(token) {
  acted.delete(token);
}

// A pair that nobody has judged yet on this browser, nor has before their eyes.
export function fresh(page) {
  const { token } = page.dataset;
  const shown = screen.current().dataset.token === token;
  return Boolean(token) && !shown && !acted.has(token) && !unsent.has(token);
}

export function offer(page) {
  if (fresh(page)) kept = page;
  else if (!page.dataset.token) dry = screen.current().dataset.token;
}

// Only where no act is on its way, whose answer would bring the same.
export async function look(use) {
  const { token } = screen.current().dataset;
  if (!token || kept || asking || dry === token || screen.waitsFor() || unsent.all().length) return;
  asking = true;
  try {
    const { status, screen: page } = await server.get({ after: token });
    if (page) use(page);
    else if (status === 204) dry = token;
  } catch {
    // Without a connection the next vote's answer brings the pair.
  } finally {
    asking = false;
  }
}
