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

/** Before a choice does its work: a dialog gives the focus back to where it was. */
document.addEventListener("click", ({ target }) => {
  for (const menu of opened()) {
    const summary = menu.querySelector("summary");
    if (summary.contains(target)) continue;
    if (menu.contains(target)) summary.focus();
    menu.open = false;
  }
}, true);

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
