// Times in the reader's zone, and Escape for the explanations of words.
const SHORT = { day: "numeric", month: "short", year: "numeric" };
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

function inReadersZone(time) {
  const at = new Date(time.dateTime);
  const day = at.toLocaleDateString("en-GB", SHORT).replace("Sept", "Sep");
  const clock = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  time.title = `${time.textContent} (your time zone: ${ZONE})`;
  time.textContent = `${day}, ${clock}`;
  time.removeAttribute("data-moment");
}

function showTimes(root) {
  root.querySelectorAll("time[data-moment]").forEach(inReadersZone);
}

function closeTip(event) {
  if (event.key !== "Escape") return;
  for (const term of document.querySelectorAll(".term:is(:hover, :focus-within)")) {
    term.classList.add("term-closed");
    const again = () => term.classList.remove("term-closed");
    term.addEventListener("pointerenter", again, { once: true });
    term.addEventListener("focusout", again, { once: true });
  }
}

showTimes(document);
document.addEventListener("htmx:load", (event) => showTimes(event.target));
document.addEventListener("keydown", closeTip);
