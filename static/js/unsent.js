// What the server does not have yet, kept by the browser in its order: across a reload, a crash
// or a sign-in. Each person has a list of their own, and all tabs share it.
const DEEP = 20;

function screen() {
  return document.getElementById("screen").dataset;
}

function list() {
  return `pairloop.unsent.${screen().person}`;
}

function taken() {
  return `pairloop.acts.${screen().person}.${screen().page}`;
}

export function all() {
  return JSON.parse(localStorage.getItem(list()) ?? "[]");
}

export function add(act) {
  localStorage.setItem(list(), JSON.stringify([...all(), act]));
}

export function remove(act) {
  localStorage.setItem(list(), JSON.stringify(all().filter((other) => other.id !== act.id)));
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

export { list };
