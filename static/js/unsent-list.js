// What the server does not have yet, kept by the browser in its order: across a reload, a crash
// or a sign-in. Each person has a list of their own, and all tabs share it.
const ALL = "pairloop.unsent.";
const DEEP = 20;

function screen() {
  return document.getElementById("screen").dataset;
}

// An entry per act: two tabs that rewrote one list at the same instant would lose what one added.
function own() {
  return `${ALL}${screen().person}.`;
}

function taken() {
  return `pairloop.acts.${screen().person}.${screen().page}`;
}

function names() {
  return Object.keys(localStorage).filter((name) => name.startsWith(own())).sort();
}

export function all() {
  return names().map((name) => JSON.parse(localStorage.getItem(name)));
}

// The time is the place in the order, also where the clock was set back meanwhile.
export function add(act) {
  const last = Number.parseInt(all().at(-1)?.id ?? 0, 10);
  const id = `${Math.max(Date.now(), last + 1)}-${Math.random()}`;
  localStorage.setItem(own() + id, JSON.stringify({ ...act, id }));
}

export function remove(act) {
  localStorage.removeItem(own() + act.id);
}

export function isOwn(name) {
  return name.startsWith(own());
}

// They are sent when their author signs in here again, and under nobody else's name.
export function areOthers() {
  return Object.keys(localStorage).some((name) => name.startsWith(ALL) && !isOwn(name));
}

export function has(token) {
  return all().some((act) => act.kind === "act" && act.token === token);
}

// The tokens that undo takes back, last one last. Naming what is taken back makes an undo that
// is sent twice harmless.
export function acts() {
  return JSON.parse(sessionStorage.getItem(taken()) ?? "[]");
}

export function setActs(tokens) {
  sessionStorage.setItem(taken(), JSON.stringify(tokens.slice(-DEEP)));
}
