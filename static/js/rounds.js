// A part that replaces itself every few seconds must not close the tables a reader has opened.
let open = new Set();

document.addEventListener("htmx:beforeSwap", (event) => {
  open = new Set([...event.detail.target.querySelectorAll("details[open][id]")].map((d) => d.id));
});

document.addEventListener("htmx:afterSwap", () => {
  for (const id of open) {
    const details = document.getElementById(id);
    if (details) details.open = true;
  }
});
