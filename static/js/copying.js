// A button at each block of code in a text, which copies it.
const SAID_MS = 2000;
const status = document.createElement("p");

function offer() {
  for (const block of document.querySelectorAll(".prose pre:has(> code):not(:has([data-copy]))")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.dataset.copy = "";
    button.textContent = "Copy";
    block.prepend(button);
  }
}

async function copied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    // Not over plain http, nor without the permission: there it goes by way of the selection.
    window.getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}

async function copy(event) {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const said = await copied(button.parentElement.querySelector("code")) ? "Copied" : "Not copied";
  button.textContent = said;
  status.textContent = said;
  setTimeout(() => {
    button.textContent = "Copy";
    status.textContent = "";
  }, SAID_MS);
}

status.className = "visually-hidden";
status.setAttribute("role", "status");
document.body.append(status);
document.addEventListener("click", copy);
document.addEventListener("htmx:afterSettle", offer);
document.addEventListener("pairloop:arrived", offer);
offer();
