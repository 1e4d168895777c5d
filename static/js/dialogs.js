// Guidelines and the list of keys open over the pair and close with the key that opened them. What
// is in them comes when they are first opened.
const NEEDED = { help: () => import("./remap.js") };
const FAILED = "This could not be loaded. Close it and open it again.";

async function fill(dialog, address) {
  if ("filled" in dialog.dataset) return;
  const text = document.getElementById(`${dialog.id}-text`);
  try {
    await NEEDED[dialog.id]?.();
    await window.htmx.ajax("GET", address, { target: text, swap: "innerHTML" });
  } catch {
    // What became of it is told by the event below, or it is not in the dialog.
  }
  if (!("filled" in dialog.dataset)) text.textContent = FAILED;
}

function filled(event) {
  const dialog = event.target.closest?.("dialog");
  if (dialog) dialog.dataset.filled = "";
}

function toggle(event) {
  const opener = event.target.closest?.("[data-opens]");
  if (!opener || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const dialog = document.getElementById(opener.dataset.opens);
  if (dialog.open) {
    dialog.close();
    return;
  }
  fill(dialog, opener.href ?? opener.dataset.text);
  dialog.showModal();
}

// A click beside the dialog closes it.
function beside(event) {
  if (event.target instanceof HTMLDialogElement) event.target.close();
}

export function listen() {
  document.addEventListener("click", toggle);
  document.addEventListener("click", beside);
  document.addEventListener("htmx:afterSwap", filled);
}

export function showButtons() {
  for (const button of document.querySelectorAll("[data-needs-js]")) button.hidden = false;
}
