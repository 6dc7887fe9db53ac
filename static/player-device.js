// The device: it stays awake while something plays, and its keys and lock screen know what.

/** Keep the screen on while the show plays. A page that was hidden has lost its lock. */
export function stayAwake({ show }) {
  let lock = null;

  async function update() {
    if (show.playing && document.visibilityState === "visible") {
      lock ??= navigator.wakeLock.request("screen").catch(() => null); // the battery is low
      return;
    }
    const held = lock;
    lock = null;
    (await held)?.release();
  }

  if (!navigator.wakeLock) return;
  for (const type of ["present", "pause", "end", "halt"]) show.addEventListener(type, update);
  document.addEventListener("visibilitychange", update);
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
