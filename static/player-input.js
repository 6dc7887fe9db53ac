// Hands: taps, swipes and keys, and the controls that hide while nobody touches anything.

const REST = 3000; // ms until the controls hide
const DOUBLE = 300; // ms between the taps of a double tap
const SWIPE = 50; // px

/** The controls hide by themselves, unless something keeps them; returns what wakes them. */
export function hideControls({ part, player, show, kept }) {
  let timer;
  const hide = () => player.classList.add("idle");
  const rest = () => {
    if (!show.paused && !kept()) hide();
  };

  function wake() {
    player.classList.remove("idle");
    clearTimeout(timer);
    timer = setTimeout(rest, REST);
  }

  /** One tap shows them, the next one hides them again. */
  function toggle() {
    if (player.classList.contains("idle")) wake();
    else if (!kept()) hide();
  }

  // Where the controls were, there is room then for the words of the medium.
  new ResizeObserver(([{ target }]) => {
    player.style.setProperty("--deck", `${target.offsetHeight}px`);
  }).observe(part("deck"));
  addEventListener("pointermove", ({ pointerType }) => pointerType === "mouse" && wake());
  addEventListener("focusin", wake);
  for (const type of ["pause", "end", "halt"]) show.addEventListener(type, wake);
  wake();
  return { wake, toggle };
}

/** On the stage: tap, double tap, swipe. Elsewhere a touch only keeps the controls. */
export function followHands({ part, show, wake, toggle, fullscreen }) {
  const stage = part("stage");
  let start = null;
  let touch = false; // a mouse shows the controls by its moves, and needs no tap
  let tapped = -DOUBLE;

  function tap({ timeStamp }) {
    const twice = timeStamp - tapped < DOUBLE;
    tapped = twice ? -DOUBLE : timeStamp;
    if (twice) fullscreen.toggle();
    else if (touch) toggle();
  }

  function swipe({ clientX, clientY }) {
    const way = start ? clientX - start.clientX : 0;
    const across = start ? Math.abs(clientY - start.clientY) : 0;
    start = null;
    if (Math.abs(way) < SWIPE || Math.abs(way) < across) return;
    if (way < 0) show.next();
    else show.previous();
  }

  // Who has zoomed in moves about in the picture by the finger that would else swipe.
  window.visualViewport?.addEventListener("resize", ({ target }) =>
    stage.classList.toggle("zoomed", target.scale > 1.01));
  addEventListener("pointerdown", ({ pointerType }) => (touch = pointerType !== "mouse"), true);
  stage.addEventListener("pointerdown", (event) => (start = event.isPrimary ? event : null));
  stage.addEventListener("pointerup", swipe);
  stage.addEventListener("pointercancel", () => (start = null));
  stage.addEventListener("click", tap);
  addEventListener("click", ({ target }) => stage.contains(target) || wake());
}

/** The keyboard. A focused control keeps the keys that are its own. */
export function followKeys({ show, wake, fullscreen, sound, leave, busy, keyOf }) {
  const actions = {
    " ": () => show.pause(!show.paused),
    ArrowRight: show.next,
    ArrowLeft: show.previous,
    f: fullscreen.toggle,
    m: () => sound.toggle(),
    Escape: () => fullscreen.on() || leave(),
  };
  const own = (target, key) =>
    (key === " " && target.closest("a, button")) ||
    (key.startsWith("Arrow") && target.closest("input[type=range]")) ||
    (key !== "Escape" && target.closest("input[readonly]"));

  addEventListener("keydown", (event) => {
    const { target, ctrlKey, metaKey, altKey } = event;
    const key = keyOf(event);
    if (ctrlKey || metaKey || altKey || busy()) return;
    if (!actions[key] || own(target, key)) return;
    event.preventDefault();
    actions[key]();
    wake();
  });
}
