// Which key presses what. An action is known by its first key; a person may give it another one,
// which is kept in this browser.
const KEPT = "pairloop.keymap";
let own = read();

function read() {
  return JSON.parse(localStorage.getItem(KEPT) ?? "{}");
}

export function chosen(first) {
  return own[first] ?? first;
}

// The first key of what this key presses; nothing where its action has got another key.
export function meant(name) {
  const first = Object.keys(own).find((each) => own[each] === name);
  return first ?? (name in own ? "" : name);
}

export function change(first, name) {
  own[first] = name;
  if (first === name) delete own[first];
  localStorage.setItem(KEPT, JSON.stringify(own));
}

export function reset() {
  own = {};
  localStorage.removeItem(KEPT);
}

// Another tab has changed it.
export function listen(onChange) {
  window.addEventListener("storage", (event) => {
    if (event.key !== KEPT) return;
    own = read();
    onChange();
  });
}
