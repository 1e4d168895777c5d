// After a vote or a skip: why, in one key, or not at all. It goes away by itself.
import * as saving from "./saving.js";
import * as screen from "./screen.js";
import * as unsent from "./unsent.js";

const STAYS_MS = 8000;
const toast = document.getElementById("toast");
const comment = document.getElementById("toast-comment");
const said = toast.querySelector(".toast-said");
let about = "";
let timer = 0;

function all(selector) {
  return [...toast.querySelectorAll(selector)];
}

function pressed(selector) {
  return all(`${selector}[aria-pressed="true"]`);
}

export function hide() {
  clearTimeout(timer);
  toast.hidden = true;
}

function stay() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (toast.matches(":hover") || toast.contains(document.activeElement)) stay();
    else hide();
  }, STAYS_MS);
}

export function offer(token, kind) {
  about = token;
  for (const button of all("[aria-pressed]")) button.setAttribute("aria-pressed", "false");
  for (const row of all("[data-after]")) row.hidden = row.dataset.after !== kind;
  toast.querySelector("[data-comment-row]").hidden = true;
  comment.value = "";
  said.textContent = "";
  document.querySelector(".dock").prepend(toast);
  toast.hidden = false;
  stay();
}

function send(token, what, fields, caption) {
  said.textContent = "";
  saving.add({
    kind: "remark",
    token,
    url: `${toast.dataset.page}${token}/${what}/`,
    body: String(new URLSearchParams(fields)),
    caption,
    repeatable: true,
  });
}

// All that is said, each time: sent twice or late, it stays the same.
function remark() {
  const fields = pressed("[data-reason]").map((button) => ["reasons", button.dataset.reason]);
  for (const button of pressed("[data-criterion]")) fields.push([button.dataset.criterion, button.value]);
  fields.push(["comment", comment.value.trim()]);
  send(about, "remark", fields, "Remark");
}

function choose(button) {
  const was = button.getAttribute("aria-pressed") === "true";
  const { criterion, skipReason } = button.dataset;
  // One of a row; a comparison once made can be changed and not unsaid.
  const row = criterion ? `[data-criterion="${criterion}"]` : "[data-skip-reason]";
  if (criterion || skipReason) for (const other of all(row)) other.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-pressed", String(criterion || skipReason ? true : !was));
  if (skipReason) send(about, "skip-reason", { reason: skipReason }, "Reason");
  else remark();
}

function openComment() {
  toast.querySelector("[data-comment-row]").hidden = false;
  comment.focus();
}

function closeComment() {
  toast.querySelector("[data-comment-row]").hidden = true;
  document.querySelector("#prompt-title, #empty-title").focus({ preventScroll: true });
}

function typed(event) {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  if (event.isComposing) return;
  event.preventDefault();
  if (event.key === "Enter") remark();
  closeComment();
  stay();
}

function clicked(event) {
  const flag = event.target.closest?.("[data-flag]");
  if (flag) {
    flag.closest("[popover]").hidePopover();
    send(screen.current().dataset.token, "flag", { kind: flag.dataset.flag }, "Warning");
    return;
  }
  const button = event.target.closest?.("#toast button");
  if (!button) return;
  stay();
  if ("comment" in button.dataset) openComment();
  else choose(button);
}

// What became of a remark; the screen itself has nothing to show for it.
export function answered(act, status) {
  if (unsent.all().some((other) => other.kind === "remark")) return;
  const why = status === 400 ? "the project no longer offers it" : "the vote was taken back";
  const text = status < 400 ? "noted ✓" : `Not kept: ${why}.`;
  if (act.token === about && !toast.hidden) said.textContent = text;
  else if (status < 400) screen.announce(`${act.caption} noted.`);
}

export function listen() {
  comment.addEventListener("keydown", typed);
  document.addEventListener("click", clicked);
  toast.addEventListener("keydown", (event) => event.key === "Escape" && event.target !== comment && hide());
}
