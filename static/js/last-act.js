// What may be said of the vote or skip before: why, in one key, or not at all. It names the pair
// that it is about, and stands above the next one in a place of its own.
import * as saving from "./sending-votes.js";
import * as screen from "./screen.js";
import * as unsent from "./unsent-list.js";

const last = document.getElementById("last");
const comment = document.getElementById("last-comment");
const said = last.querySelector(".last-said");
let token = "";

function all(selector) {
  return [...last.querySelectorAll(selector)];
}

function pressed(selector) {
  return all(`${selector}[aria-pressed="true"]`);
}

export function hide() {
  last.hidden = true;
}

// The pair in sight is about to give way; `caption` is what was said of it.
export function about(its, caption) {
  token = its;
  const words = screen.firstWords();
  const kind = caption === "Skip" ? "skip" : "vote";
  for (const button of all("[data-reason], [data-skip-reason]")) button.setAttribute("aria-pressed", "false");
  for (const part of all("[data-after]")) part.hidden = part.dataset.after !== kind;
  showComment(false);
  comment.value = "";
  said.textContent = "";
  last.querySelector("[data-last-act]").textContent = kind === "skip" ? "Skipped" : caption;
  last.querySelector("[data-last-pair]").textContent = words;
  last.setAttribute("aria-label", `About the pair before, ${words}`);
  comment.setAttribute("aria-label", `Comment on the pair before, ${words}`);
  for (const link of all("[data-rewrite]")) link.hash = `vote-${token}`;
  last.hidden = false;
}

function send(its, what, fields, caption) {
  said.textContent = "";
  saving.add({
    kind: "remark",
    token: its,
    url: `${last.dataset.page}${its}/${what}/`,
    body: String(new URLSearchParams(fields)),
    caption,
    repeatable: true,
  });
}

// All that is said, each time: sent twice or late, it stays the same.
function remark() {
  const fields = pressed("[data-reason]").map((button) => ["reasons", button.dataset.reason]);
  fields.push(["comment", comment.value.trim()]);
  send(token, "remark", fields, "Remark");
}

function choose(button) {
  const was = button.getAttribute("aria-pressed") === "true";
  const { skipReason } = button.dataset;
  if (skipReason) for (const other of all("[data-skip-reason]")) other.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-pressed", String(skipReason ? true : !was));
  if (skipReason) send(token, "skip-reason", { reason: skipReason }, "Reason");
  else remark();
}

// In the place of the buttons, so that the pair below stays where it is.
function showComment(wanted) {
  comment.hidden = !wanted;
  last.querySelector("[data-after=vote]").toggleAttribute("data-commenting", wanted);
}

function openComment() {
  showComment(true);
  comment.focus();
}

function closeComment() {
  showComment(false);
  document.querySelector("#prompt-title, #empty-title").focus({ preventScroll: true });
}

function typed(event) {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  if (event.isComposing) return;
  event.preventDefault();
  if (event.key === "Enter") remark();
  closeComment();
}

function clicked(event) {
  const flag = event.target.closest?.("[data-flag]");
  if (flag) {
    flag.closest("[popover]").hidePopover();
    send(screen.current().dataset.token, "flag", { kind: flag.dataset.flag }, "Warning");
    return;
  }
  const button = event.target.closest?.("#last button");
  if (!button) return;
  if ("comment" in button.dataset) openComment();
  else choose(button);
}

// What became of a remark; the screen itself has nothing to show for it.
export function answered(act, status) {
  if (unsent.all().some((other) => other.kind === "remark")) return;
  const why = status === 400 ? "the project no longer offers it" : "the vote was taken back";
  const text = status < 400 ? "noted ✓" : `Not kept: ${why}.`;
  if (act.token === token && !last.hidden) said.textContent = text;
  else if (status < 400) screen.announce(`${act.caption} noted.`);
}

export function listen() {
  comment.addEventListener("keydown", typed);
  document.addEventListener("click", clicked);
}
