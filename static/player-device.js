// The device: it stays awake while something plays, and its keys and lock screen know what.

/** Keep the screen on while the show plays. A page that was hidden has lost its lock. Safari
 * gives none before somebody has touched the page, and a device may take it back (its battery
 * is low): so it is asked for again at each item, and at each touch. */
export function stayAwake({ show }) {
  let lock = null; // a promise: asked for, or held

  function ask() {
    const asked = navigator.wakeLock.request("screen");
    const lost = () => lock === asked && (lock = null);
    asked.then((held) => held.addEventListener("release", lost), lost);
    return asked;
  }

  function update() {
    if (show.playing && document.visibilityState === "visible") {
      lock ??= ask();
      return;
    }
    lock?.then((held) => held.release(), () => {});
    lock = null;
  }

  if (!navigator.wakeLock) return;
  for (const type of ["present", "pause", "end", "halt"]) show.addEventListener(type, update);
  for (const type of ["visibilitychange", "click"]) document.addEventListener(type, update);
}

/** Say what is on to the system (Media Session API), and do what its keys ask. */
export function answerMediaKeys({ show, about, isWeb, nameOf }) {
  const session = navigator.mediaSession;
  if (!session) return;

  function describe({ detail: { item } }) {
    const picture = [item.thumbnail, item.type === "image" && item.mediaUrl, about.thumbnail];
    const src = picture.find((address) => address && isWeb(address));
    session.metadata = new MediaMetadata({
      title: nameOf(item), artist: about.ownerName, album: about.title,
      artwork: src ? [{ src }] : [],
    });
  }

  function tell() {
    session.playbackState = show.playing ? "playing" : "paused";
  }

  const actions = {
    play: () => (show.stopped ? show.again() : show.pause(false)),
    pause: () => show.pause(true),
    previoustrack: show.previous,
    nexttrack: show.next,
    seekto: ({ seekTime }) => show.seek(seekTime),
  };
  for (const [name, action] of Object.entries(actions)) session.setActionHandler(name, action);
  show.addEventListener("present", describe);
  for (const type of ["present", "pause", "end", "halt"]) show.addEventListener(type, tell);
}
