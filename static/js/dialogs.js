// Guidelines and the list of keys open over the pair and close with the key that opened them.
function toggle(event) {
  const opener = event.target.closest?.("[data-opens]");
  if (!opener || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const dialog = document.getElementById(opener.dataset.opens);
  if (dialog.open) {
    dialog.close();
    return;
  }
  if (opener.href && !("filled" in dialog.dataset)) {
    dialog.dataset.filled = "";
    window.htmx.ajax("GET", opener.href, { target: `#${dialog.id}-text`, swap: "innerHTML" });
  }
  dialog.showModal();
}

// A click beside the dialog closes it.
function beside(event) {
  if (event.target instanceof HTMLDialogElement) event.target.close();
}

export function listen() {
  document.addEventListener("click", toggle);
  document.addEventListener("click", beside);
}

export function showButtons() {
  for (const button of document.querySelectorAll("[data-needs-js]")) button.hidden = false;
}
