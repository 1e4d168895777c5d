// Requests to the server, and the screen in its answer.
const TIMEOUT_MS = 20000;

function screenIn(html) {
  const found = new DOMParser().parseFromString(html, "text/html").getElementById("screen");
  return found && document.adoptNode(found);
}

// The page of whoever signed in meanwhile has to be loaded whole.
function isElses(page) {
  return page && page.dataset.person !== document.getElementById("screen").dataset.person;
}

// Every answer is { status, screen, leave }; `leave` is where a page has to go whose person
// is not signed in any more.
async function read(answer) {
  const found = screenIn(await answer.text());
  const leave = answer.headers.get("HX-Redirect") ?? (isElses(found) ? location.href : null);
  return { status: answer.status, leave, screen: leave ? null : found };
}

function headers() {
  return {
    "HX-Request": "true",
    "HX-Current-URL": location.href,
    "X-CSRFToken": document.forms.bar.elements.csrfmiddlewaretoken.value,
  };
}

export async function get(query = {}) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return read(await fetch(url, { headers: headers(), signal: AbortSignal.timeout(TIMEOUT_MS) }));
}

async function send(url, body) {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  return read(await fetch(url, { method: "POST", headers: headers(), body, signal }));
}

// After signing in again in another tab this page's form token has ended, and a new one is a look
// away.
export async function post(url, body) {
  const answer = await send(url, body);
  if (answer.status !== 403) return answer;
  const now = await get();
  if (!now.screen) return now.leave ? now : answer;
  const name = "csrfmiddlewaretoken";
  document.forms.bar.elements[name].value = now.screen.querySelector(`[name=${name}]`).value;
  return send(url, body);
}
