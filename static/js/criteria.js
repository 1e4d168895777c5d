// The criteria of the pair in sight, compared one after the other before the overall vote. The
// row whose turn it is has the keys of the vote; they go back to the bar after the last one. Only
// pages of projects with criteria load it, or the first pair that brings some.
import * as keys from "./key-presses.js";

const panel = () => document.getElementById("criteria");
const rows = () => [...document.querySelectorAll("#criteria .criterion")];
const nameOf = (row) => row.querySelector(".criterion-name").textContent;
const answer = (row) => row.querySelector("input:checked")?.value ?? "";
const captionOf = (row) => row.querySelector(`label:has(input:checked)`)?.firstElementChild.nextSibling.textContent.trim();

function firstOpen() {
  const place = rows().findIndex((row) => !answer(row));
  return place < 0 ? rows().length : place;
}

function place() {
  const active = rows().findIndex((row) => "active" in row.dataset);
  return active < 0 ? rows().length : active;
}

function whatNow(turn) {
  const all = rows();
  if (turn < all.length) return `${turn + 1} of ${all.length}: ${nameOf(all[turn])}`;
  return "Now the overall vote";
}

// The phone shows one row: that whose turn it is, or the last one.
function turnTo(turn) {
  const all = rows();
  all.forEach((row, number) => {
    row.toggleAttribute("data-active", number === turn);
    row.toggleAttribute("data-shown", number === Math.min(turn, all.length - 1));
    for (const label of row.querySelectorAll("label")) {
      if (number === turn) label.dataset.key = panel().dataset[label.control.value];
      else delete label.dataset.key;
    }
  });
  panel().querySelector("[data-criteria-turn]").textContent = whatNow(turn);
  panel().querySelector("[data-criteria-back]").disabled = turn === 0;
  const leave = panel().querySelector("[data-criteria-leave]");
  if (leave) leave.disabled = turn === all.length;
  document.getElementById("bar").toggleAttribute("data-comparing", turn < all.length);
  keys.print();
}

function say(text) {
  document.getElementById("announcer").textContent = text;
}

function answered(event) {
  const row = event.target.closest?.("#criteria .criterion");
  if (!row) return;
  const turn = firstOpen();
  turnTo(turn);
  say(`${nameOf(row)}: ${captionOf(row)}. ${whatNow(turn)}.`);
}

function pressed(event) {
  // A label pressed by a key would take the focus to its button, and the page along with it.
  if (event.target.matches?.("#criteria label") && !event.isTrusted) {
    event.preventDefault();
    event.target.control.click();
    return;
  }
  if (event.target.closest?.("[data-criteria-back]")) turnTo(Math.max(place() - 1, 0));
  else if (event.target.closest?.("[data-criteria-leave]")) turnTo(rows().length);
  else {
    // The same answer once more changes nothing, and is an answer all the same.
    const row = event.target.closest?.("#criteria .criterion");
    if (row && event.target.matches("input:checked") && "active" in row.dataset) answered(event);
    return;
  }
  say(whatNow(place()));
}

// Who walks to a row with Tab answers that row.
function focused(event) {
  const row = event.target.closest?.("#criteria .criterion");
  if (row && event.target.matches(":focus-visible")) turnTo(rows().indexOf(row));
}

// What a vote says of the criteria, by their names: the project may have others by the time it
// is sent. Nothing where nothing was compared.
function given() {
  const said = rows().filter(answer).map((row) => [nameOf(row), answer(row)]);
  return said.length ? JSON.stringify(Object.fromEntries(said)) : "";
}

function gathered({ formData: data }) {
  for (const name of [...data.keys()]) if (name.startsWith("criterion-")) data.delete(name);
  if (data.has("vote")) data.set("criteria", given());
}

// The vote has to wait for a comparison, whose turn it then is.
function hold(event) {
  if (event.submitter?.name !== "vote" || !panel()) return;
  if (!("required" in panel().dataset) || firstOpen() === rows().length) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  turnTo(firstOpen());
  say(`First ${whatNow(firstOpen())}.`);
}

function arrived(event) {
  if (panel() && !event?.target.closest?.("dialog")) turnTo(firstOpen());
}

function listen() {
  arrived();
  document.addEventListener("pairloop:arrived", arrived);
  document.addEventListener("htmx:afterSwap", arrived);
  document.addEventListener("formdata", gathered);
  document.addEventListener("submit", hold, { capture: true });
  document.addEventListener("change", answered);
  document.addEventListener("click", pressed);
  document.addEventListener("focusin", focused);
}

listen();
