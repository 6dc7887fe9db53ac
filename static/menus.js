// <details class="menu">: closed by Escape, by a choice and by anything else.

const opened = () => document.querySelectorAll(".menu[open]");

/** A menu that would stick out at the bottom or at the left opens the other way. */
function place(menu) {
  const sheet = menu.querySelector(".sheet");
  sheet.classList.remove("above", "onward");
  const { bottom, left } = sheet.getBoundingClientRect();
  sheet.classList.toggle("above", bottom > innerHeight);
  sheet.classList.toggle("onward", left < 0);
}

document.addEventListener("toggle", ({ target }) => {
  if (target.matches(".menu[open]")) place(target);
}, true);

document.addEventListener("click", ({ target }) => {
  for (const menu of opened()) {
    const summary = target.closest("summary");
    if (summary?.parentElement !== menu) menu.open = false;
  }
});

document.addEventListener("focusin", ({ target }) => {
  for (const menu of opened()) if (!menu.contains(target)) menu.open = false;
});

document.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape") return;
  for (const menu of opened()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
