// Fullscreen, and the button that tells what it would do.

/** Where a browser has it only under its old name (iPads before iOS 16.4), that. */
const own = (object, name) =>
  object[name] ?? object[`webkit${name.charAt(0).toUpperCase()}${name.slice(1)}`];

export function offerFullscreen({ part, player, show }) {
  const button = part("fullscreen");
  const possible = own(document, "fullscreenEnabled");
  const on = () => Boolean(own(document, "fullscreenElement"));

  /** An iPhone shows no page as large as the screen, but a video. */
  const film = () => show.shown?.element.webkitEnterFullscreen && show.shown.element;

  function toggle() {
    if (on()) own(document, "exitFullscreen").call(document);
    else if (possible) own(player, "requestFullscreen").call(player)?.catch(() => {}); // no gesture
    else film()?.webkitEnterFullscreen();
  }

  function tell() {
    button.hidden = !possible && !film();
    button.classList.toggle("on", on());
    button.setAttribute("aria-label", on() ? "Leave fullscreen" : "Fullscreen");
  }

  button.onclick = toggle;
  for (const name of ["fullscreenchange", "webkitfullscreenchange"]) {
    document.addEventListener(name, tell);
  }
  show.addEventListener("present", tell);
  tell();
  return { toggle, on };
}
