// Requests to the server, and the screen in its answer.
const TIMEOUT_MS = 20000;

function screenIn(html) {
  const found = new DOMParser().parseFromString(html, "text/html").getElementById("screen");
  return found && document.adoptNode(found);
}

// Every answer is { status, screen, leave }; `leave` is where a signed-out page has to go.
async function read(answer) {
  const leave = answer.headers.get("HX-Redirect");
  const html = await answer.text();
  return { status: answer.status, leave, screen: leave ? null : screenIn(html) };
}

function headers() {
  return {
    "HX-Request": "true",
    "HX-Current-URL": location.href,
    "X-CSRFToken": document.forms.bar.elements.csrfmiddlewaretoken.value,
  };
}

export async function post(url, body) {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  return read(await fetch(url, { method: "POST", headers: headers(), body, signal }));
}

export async function get(query = {}) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return read(await fetch(url, { headers: headers(), signal: AbortSignal.timeout(TIMEOUT_MS) }));
}
