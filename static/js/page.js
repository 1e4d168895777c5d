// On every page: the theme switch, and the menus that close when the eye has left them.
const THEMES = { "": "Auto", light: "Light", dark: "Dark" };

function showTheme(button, theme) {
  document.documentElement.dataset.theme = theme;
  button.setAttribute("aria-label", `Colours: ${THEMES[theme]}. Switch`);
  button.title = button.getAttribute("aria-label");
}

function themeSwitch(button) {
  const names = Object.keys(THEMES);
  const now = document.documentElement.dataset.theme;
  showTheme(button, names.includes(now) ? now : "");
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
    document.cookie = `theme=${next}; path=/; max-age=31536000; SameSite=Lax`;
    showTheme(button, next);
  });
}

function closeMenus(event) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (event.type === "keydown" ? event.key !== "Escape" : menu.contains(event.target)) continue;
    // Whoever closes it by the key stands on its button again, not on nothing.
    if (event.type === "keydown" && menu.contains(document.activeElement)) menu.firstElementChild.focus();
    menu.open = false;
  }
}

document.querySelectorAll("[data-theme-switch]").forEach(themeSwitch);
document.addEventListener("click", closeMenus);
document.addEventListener("keydown", closeMenus);
// How replies are shown is chosen for one visit.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-signs-out]")) return;
  for (const key of ["pairloop.view", "pairloop.whole"]) sessionStorage.removeItem(key);
});
