// The vote that is on its way, kept by the browser until the server has it: across a reload, a
// crash or a sign-in.
const KEPT = "pairloop.unsaved";
const LATER = 15000;

// button.formAction would name the page itself where the attribute is missing.
function target(button) {
  return button.getAttribute("formaction") ?? button.form.getAttribute("action");
}

export function keep(bar, button) {
  const body = String(new URLSearchParams(new FormData(bar, button)));
  const vote = { url: target(button), body, key: button.dataset.key };
  localStorage.setItem(KEPT, JSON.stringify(vote));
}

export function forget() {
  localStorage.removeItem(KEPT);
}

function sendAside({ url, body }) {
  const data = new URLSearchParams(body);
  data.set("csrfmiddlewaretoken", document.forms.bar.elements.csrfmiddlewaretoken.value);
  return fetch(url, { method: "POST", body: data, redirect: "manual" });
}

export function resume() {
  const kept = JSON.parse(localStorage.getItem(KEPT) ?? "null");
  if (!kept) return;
  // The token is part of the address: the same address is the same pair.
  const same = [...document.forms.bar.querySelectorAll("button")].find(
    (button) => button.dataset.key === kept.key && target(button) === kept.url,
  );
  if (same && kept.key !== "u") {
    same.click();
    return;
  }
  sendAside(kept)
    .then((answer) => answer.status < 500 && forget())
    .catch(() => setTimeout(resume, LATER));
}
