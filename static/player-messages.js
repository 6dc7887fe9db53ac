// What people are told: passing notices, what ends the show, and the card at its end.

const SHORT = 6000; // ms that a notice stays
const SOON = 400; // ms of waiting until the wheel turns
const LONG = 5000; // ms of waiting until somebody may want to go on

/** A notice at the top, that leaves by itself; with an action, if there is one. */
export function makeNotices({ part }) {
  let timer;

  function hush() {
    clearTimeout(timer);
    part("notice").replaceChildren();
  }

  /** Returns what takes this notice back, if it is still there. */
  function say(text, action, run) {
    const words = document.createTextNode(text);
    hush();
    part("notice").append(words);
    timer = setTimeout(hush, SHORT);
    if (action) offer(action, run);
    return () => words.isConnected && hush();
  }

  function offer(action, run) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = action;
    button.onclick = () => {
      hush();
      run();
    };
    part("notice").append(" ", button);
  }

  return { say };
}

/** While nothing comes: a wheel, then a way on; and the names of what is left out. */
export function tellWaiting({ part, show, notices, nameOf }) {
  let timers = [];
  let takeBack = () => {};

  function offer() {
    takeBack = notices.say("Still loading…", "Skip", show.skip);
  }

  function follow({ detail: { waiting } }) {
    timers.forEach(clearTimeout);
    timers = [];
    part("wheel").hidden = true;
    part("stage").setAttribute("aria-busy", waiting);
    takeBack();
    if (!waiting) return;
    timers.push(setTimeout(() => (part("wheel").hidden = false), SOON));
    timers.push(setTimeout(offer, LONG));
  }

  function skip({ detail: { item, late } }) {
    const why = late
      ? "takes too long and is skipped for now"
      : "could not be loaded and is skipped";
    notices.say(`“${nameOf(item)}” ${why}.`);
  }

  show.addEventListener("wait", follow);
  show.addEventListener("skip", skip);
}

const NOTHING = "There is nothing in this slideshow yet.";
const ALL_BROKEN = "None of the media could be loaded. They may have been moved or removed.";
const NOT_YOURS = "This link was made for another account. Ask its owner for one of your own.";
const GONE = "This slideshow is not shared any more.";

/** Why the show cannot go on, and what helps: `{text, link?: [label, href]}`. */
function remedy(error, { EMPTY, BROKEN, explain, base, leave }) {
  const front = ["To the front page", `${base}/`];
  const signIn = `${base}/login?next=${encodeURIComponent(location.pathname)}`;
  if (error === EMPTY) return { text: NOTHING, link: ["Back", leave] };
  if (!navigator.onLine) return { text: explain({ status: 0 }) };
  if (error === BROKEN) return { text: ALL_BROKEN };
  if (error.status === 401) return { text: explain(error), link: ["Sign in", signIn] };
  if (error.status === 403) return { text: NOT_YOURS, link: front };
  if (error.status === 404) return { text: GONE, link: front };
  return { text: explain(error) };
}

/** The message that stands where the show could not go on. Its link takes the place of the
 * player in the history, so that Back does not lead into a circle. */
export function tellHalts({ part, player, show, ...words }) {
  const link = part("message-link");

  function halt({ detail: { error } }) {
    const helped = remedy(error, words);
    player.classList.add("over");
    part("message").hidden = false;
    part("message-text").textContent = helped.text;
    part("open-overview").hidden = error === words.EMPTY;
    part("retry").hidden = Boolean(helped.link);
    link.hidden = !helped.link;
    if (helped.link) [link.textContent, link.href] = helped.link;
    (helped.link ? link : part("retry")).focus({ preventScroll: true });
  }

  function clear() {
    if (part("message").hidden) return;
    part("message").hidden = true;
    part("message-text").textContent = ""; // so that the next one is read out, too
    player.classList.remove("over");
  }

  link.onclick = (event) => {
    event.preventDefault();
    location.replace(link.href);
  };
  part("retry").onclick = () => show.retry();
  addEventListener("online", () => part("retry").offsetParent && show.retry());
  show.addEventListener("halt", halt);
  show.addEventListener("move", clear);
}

/** The card at the end: again, make your own, or pass it on. */
export function offerMore({ part, player, show, title }) {
  const card = part("end");
  const button = part("pass-on"); // none where an owner plays what is not shared yet
  const sheet = navigator.share && matchMedia("(pointer: coarse)").matches;

  function toggle(over) {
    player.classList.toggle("over", over);
    card.hidden = !over;
  }

  async function copy() {
    const link = part("link");
    let done = true;
    link.select();
    try {
      await navigator.clipboard.writeText(link.value);
    } catch {
      done = document.execCommand("copy"); // no clipboard API without https
    }
    button.textContent = done ? "Copied" : "Not copied";
    part("copied").textContent = done
      ? "The link is copied."
      : "The link could not be copied. It is selected: copy it by hand.";
  }

  function passOn() {
    if (!sheet) return copy();
    return navigator.share({ title, url: part("link").value }).catch(() => {}); // or not, after all
  }

  part("again").onclick = () => show.again();
  if (button) {
    button.textContent = sheet ? "Share…" : "Copy";
    button.onclick = passOn;
  }
  show.addEventListener("end", () => {
    toggle(true);
    part("again").focus({ preventScroll: true });
  });
  show.addEventListener("move", () => card.hidden || toggle(false));
}
