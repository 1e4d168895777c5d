// A button in each password field that shows what is typed.
function offer(input) {
  const frame = document.createElement("div");
  frame.className = "shows-password";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-quiet button-small";
  button.textContent = "Show";
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", "Show the password");
  button.addEventListener("click", () => {
    const hidden = input.type === "password";
    input.type = hidden ? "text" : "password";
    button.setAttribute("aria-pressed", String(hidden));
    input.focus();
  });
  // Sent hidden again: a browser would keep a field of plain text for its suggestions.
  input.form.addEventListener("submit", () => { input.type = "password"; });
  input.replaceWith(frame);
  frame.append(input, button);
}

document.querySelectorAll('input[type="password"]').forEach(offer);
