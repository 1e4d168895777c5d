// Sends a file of any size in pieces, each after the last one has arrived; whatever breaks off goes
// on where it stopped, also after the page was loaded again.
const WAITS_MS = [500, 1000, 2000, 5000, 10000, 20000];
const PIECE_TIMEOUT_MS = 120000;

const form = document.querySelector("form[data-uploads]");
const input = form.elements.file;
const sending = form.querySelector("[data-sending]");
const bar = sending.querySelector("progress");
const said = sending.querySelector("[data-said]");
const stop = sending.querySelector("[data-stop]");
let current = null;
let last = null; // the file that was sent last, and the address of its upload

class Told extends Error {}
class Busy extends Error {}

function headers(more = {}) {
  return { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value, ...more };
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toLocaleString(undefined, { maximumFractionDigits: 1 })} MB`;
}

function show(text, share) {
  sending.hidden = false;
  said.textContent = text;
  if (share !== undefined) bar.value = share;
}

// What the server says is wrong is not tried again.
async function answered(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok || response.status === 409) return { status: response.status, ...body };
  const minutes = Math.ceil(Number(response.headers.get("Retry-After")) / 60);
  if (response.status === 429 && minutes > 1)
    throw new Told(`Too many files in an hour: the server takes the next one in ${minutes} minutes.`);
  if (response.status >= 500 || response.status === 429) throw new Busy(body.detail);
  const detail = body.detail ?? Object.values(body).flat()[0];
  throw new Told(detail ?? `The server answered ${response.status}.`);
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
    window.addEventListener("online", resolve, { once: true, signal });
  });
}

async function patiently(action, signal) {
  for (let tried = 0; ; tried += 1) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted || error instanceof Told || tried === WAITS_MS.length) throw error;
      const why = error instanceof Busy ? "The server is busy." : "The connection broke.";
      said.textContent = `${why} Sending goes on by itself.`;
      await pause(WAITS_MS[tried], signal);
    }
  }
}

async function ask(url, options, signal) {
  const until = AbortSignal.any([signal, AbortSignal.timeout(PIECE_TIMEOUT_MS)]);
  return answered(await fetch(url, { ...options, signal: until }));
}

function json(method, body) {
  return {
    method,
    headers: headers({ "Content-Type": "application/json" }),
    body: JSON.stringify(body),
  };
}

// The upload that was broken off, if this is the same file.
function unfinished(file) {
  if (last?.file === file) return last.url;
  const same = [...document.querySelectorAll("[data-unfinished]")].find(
    ({ dataset }) =>
      dataset.name === file.name &&
      Number(dataset.size) === file.size &&
      Number(dataset.modified) === file.lastModified,
  );
  return same && `${form.dataset.uploads}${same.dataset.unfinished}/`;
}

async function begun(file, signal) {
  const known = unfinished(file);
  if (known) return ask(known, { headers: headers() }, signal);
  const about = { name: file.name, size: file.size, modified: file.lastModified };
  return ask(form.dataset.uploads, json("POST", about), signal);
}

async function piece(file, upload, signal) {
  const length = Math.min(Number(form.dataset.piece), upload.most);
  const body = file.slice(upload.offset, upload.offset + length);
  const options = {
    method: "PATCH",
    headers: headers({
      "Content-Type": "application/octet-stream",
      "Upload-Offset": String(upload.offset),
    }),
    body,
  };
  const answer = await ask(upload.url, options, signal);
  return Number(answer.offset);
}

async function send(file, signal) {
  const upload = await patiently(() => begun(file, signal), signal);
  last = { file, url: upload.url };
  while (upload.offset < file.size) {
    show(`${megabytes(upload.offset)} of ${megabytes(file.size)} sent`, upload.offset / file.size);
    upload.offset = await patiently(() => piece(file, upload, signal), signal);
  }
  show("Sent.", 1);
  const options = json("POST", { upload: upload.upload });
  const begin = await patiently(() => ask(form.dataset.imports, options, signal), signal);
  return `${form.dataset.page}${begin.id}/`;
}

async function start(file) {
  if (current || !file) return;
  current = new AbortController();
  stop.textContent = "Pause";
  stop.hidden = false;
  show(`Sending ${file.name}`, 0);
  let page = null;
  try {
    if (!file.size) throw new Told(`${file.name} is empty: there is nothing in it to import.`);
    page = await send(file, current.signal);
  } catch (error) {
    const reason = error instanceof Told ? error.message : "The connection is gone.";
    const paused = current.signal.aborted;
    said.textContent = paused ? "Paused." : reason;
    stop.textContent = "Go on";
    stop.hidden = error instanceof Told; // another try would end the same way
  }
  current = null;
  if (page) location.assign(page);
}

// The reason why what was dropped is no file to send; empty for one file.
function inTheWay({ files, items }) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.());
  if (entries.some((entry) => entry?.isDirectory))
    return "This is a folder. Pack it into a ZIP archive, and drop that.";
  if (files.length < 2) return "";
  return `These are ${files.length} files, and one is imported at a time. Pack them into a ZIP archive to import them together.`;
}

function dropped(data) {
  if (current) return;
  const reason = inTheWay(data);
  if (reason) {
    show(reason, 0);
    stop.hidden = true;
    return;
  }
  if (data.files.length) input.files = data.files;
  start(input.files[0]);
}

function listen() {
  for (const part of form.querySelectorAll("[data-without-script]")) part.hidden = true;
  for (const part of form.querySelectorAll("[data-with-script]")) part.hidden = false;
  input.addEventListener("change", () => start(input.files[0]));
  stop.addEventListener("click", () => {
    if (current) current.abort();
    else start(input.files[0]);
  });
  form.addEventListener("submit", (event) => {
    if (!input.files.length) return;
    event.preventDefault();
    start(input.files[0]);
  });
  // A file dropped beside the place would be opened instead of the page.
  for (const name of ["dragover", "drop"]) {
    document.addEventListener(name, (event) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
  }
  form.addEventListener("dragover", () => form.toggleAttribute("data-over", true));
  form.addEventListener("dragleave", () => form.toggleAttribute("data-over", false));
  form.addEventListener("drop", (event) => {
    form.toggleAttribute("data-over", false);
    dropped(event.dataTransfer);
  });
  window.addEventListener("beforeunload", (event) => {
    if (current) event.preventDefault();
  });
}

listen();
// Who was quick chose a file before anybody listened.
start(input.files[0]);
