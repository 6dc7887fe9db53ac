// The player: media one after another, each for a random time, until somebody stops it.

const { base, api } = document.documentElement.dataset;
const { call, explain } = await import(api);

const player = document.getElementById("player");
const { code } = player.dataset;
const shortest = Number(player.dataset.min);
const longest = Number(player.dataset.max);
const PAGE = 50;
const PATIENCE = 20_000; // ms until a medium that does not come counts as broken

const ALL_BROKEN = "None of the media could be loaded. They may have been moved or removed.";
const EMPTY = "There is nothing in this slideshow yet.";
const NOT_YOURS = "This link was made for another account. Ask its owner for one of your own.";
const GONE = "This slideshow is not shared any more.";

const part = (id) => document.getElementById(id);
const stage = part("stage");
const leave = part("leave");
const still = matchMedia("(prefers-reduced-motion: reduce)");

// ---------------------------------------------------------------------------- media

const pages = new Map();
const broken = new Set();
let total = Number(player.dataset.total);
let ahead = { index: -1, element: null };

/** The item at `index`, fetched with its page when it is first wanted. */
async function item(index) {
  const offset = index - (index % PAGE);
  if (!pages.has(offset)) {
    const path = `/api/shared/media/${code}?offset=${offset}&limit=${PAGE}`;
    pages.set(offset, call("GET", path));
  }
  try {
    const page = await pages.get(offset);
    total = page.total;
    return page.media[index - offset];
  } catch (error) {
    pages.delete(offset);
    throw error;
  }
}

/** A caption, else the file's name. */
function nameOf({ caption, mediaUrl }) {
  const file = new URL(mediaUrl).pathname.split("/").pop();
  return caption || file || mediaUrl;
}

/** The element that shows an item, once it is ready to be shown; rejects if it is broken. */
function load({ mediaUrl, type, caption }) {
  const video = type === "video";
  const element = document.createElement(video ? "video" : "img");
  const ready = new Promise((resolve, reject) => {
    element.addEventListener(video ? "canplay" : "load", () => resolve(element));
    element.addEventListener("error", reject);
    setTimeout(reject, PATIENCE);
  });
  if (video) {
    element.playsInline = true;
    element.preload = "auto";
    element.ariaLabel = caption ?? "";
  } else {
    element.alt = caption ?? "";
  }
  element.src = mediaUrl;
  return ready;
}

/** What shows the item at `index`, loaded ahead or now. */
function ready(index) {
  if (ahead.index !== index) ahead = { index, element: item(index).then(load) };
  return ahead.element;
}

// ------------------------------------------------------------------------- the show

let current = 0;
let turn = 0; // every jump is a new turn; what an older one still waits for is dropped
let clock = null; // an image's time: the animation of the bar, so that pausing is exact
let video = null;
let paused = false;

const around = (index) => (index + total) % total;

/** Show the item at `index`; broken ones are named and skipped in direction `step`. */
async function show(index, step = 1) {
  const mine = ++turn;
  stop();
  player.ariaBusy = "true";
  try {
    await find(around(index), step, () => mine === turn);
  } catch (error) {
    if (mine === turn) refuse(error);
  }
  if (mine === turn) player.ariaBusy = null;
}

async function find(index, step, wanted) {
  if (broken.size >= total) return halt(ALL_BROKEN);
  const medium = await item(index);
  if (!wanted()) return null;
  if (!medium) return total ? find(0, 1, wanted) : halt(EMPTY, "Back", leave.href);
  if (broken.has(index)) return find(around(index + step), step, wanted);
  let element;
  try {
    element = await ready(index);
  } catch (error) {
    if (!wanted()) return null;
    if (error?.status !== undefined) throw error; // the API's, not the medium's
    skip(index, medium);
    return find(around(index + step), step, wanted);
  }
  if (!wanted()) return null;
  ahead = { index: -1, element: null };
  current = index;
  present(medium, element, step);
  if (total > 1) ready(around(index + 1)).catch(() => {}); // told when its turn comes
  return null;
}

function skip(index, medium) {
  broken.add(index);
  say(`“${nameOf(medium)}” could not be loaded and is skipped.`);
}

function stop() {
  if (clock) clock.onfinish = null;
  clock?.cancel();
  video?.pause();
  clock = video = null;
  part("time").style.transform = "";
}

/** Put a loaded element on the stage, by the chosen transition, and start its time. */
function present(medium, element, step) {
  const slide = document.createElement("div");
  slide.className = "slide";
  slide.dataset.step = step;
  slide.append(element);
  for (const old of stage.children) {
    slide.classList.add("enter");
    old.className = "slide leave";
    old.dataset.step = step;
    Promise.allSettled(old.getAnimations().map(({ finished }) => finished))
      .then(() => old.remove());
  }
  stage.append(slide);
  part("caption").textContent = medium.caption ?? "";
  part("place").textContent = `${current + 1} / ${total}`;
  part("overall").value = (current + 1) / total;
  part("unmute").hidden = true;
  if (medium.type === "video") startVideo(medium, element);
  else startClock();
}

function startClock() {
  const seconds = shortest + Math.random() * (longest - shortest);
  clock = part("time").animate(
    [{ transform: "scaleX(0)" }, { transform: "scaleX(1)" }],
    { duration: seconds * 1000, fill: "both", easing: still.matches ? "steps(20)" : "linear" });
  clock.onfinish = next;
  if (paused) clock.pause();
}

/** A video plays to its end; where sound may not start by itself, without sound. */
function startVideo(medium, element) {
  video = element;
  video.onended = next;
  video.onerror = () => {
    skip(current, medium);
    next();
  };
  video.ontimeupdate = () => {
    const done = element.currentTime / element.duration || 0;
    if (element === video) part("time").style.transform = `scaleX(${done})`;
  };
  if (!paused) playVideo(element);
}

async function playVideo(element) {
  try {
    await element.play();
  } catch (error) {
    if (error.name !== "NotAllowedError" || element !== video) return;
    element.muted = true;
    part("unmute").hidden = false;
    element.play().catch(() => setPaused(true));
  }
}

const next = () => show(current + 1);
const previous = () => show(current - 1, -1);

function setPaused(value) {
  paused = value;
  player.classList.toggle("paused", paused);
  part("pause").ariaLabel = paused ? "Play" : "Pause";
  part("caption").ariaLive = paused ? "polite" : "off"; // read out only at one's own pace
  if (paused) {
    clock?.pause();
    video?.pause();
  } else {
    clock?.play();
    if (video) playVideo(video);
  }
  wake();
}

// ---------------------------------------------------------------- what people are told

let quiet;
function say(text) {
  part("notice").textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => (part("notice").textContent = ""), 6000);
}

/** The show ends with a message and a way on. */
function halt(text, action = "Try again", href = location.href) {
  stop();
  part("message").hidden = false;
  part("message-text").textContent = text;
  part("message-link").textContent = action;
  part("message-link").href = href;
  wake();
}

/** An API refusal ends the show; what helps depends on which it is. */
function refuse(error) {
  const signIn = `${base}/login?next=${encodeURIComponent(location.pathname)}`;
  const front = ["To the front page", `${base}/`];
  if (error.status === 401) halt(explain(error), "Sign in", signIn);
  else if (error.status === 403) halt(NOT_YOURS, ...front);
  else if (error.status === 404) halt(GONE, ...front);
  else halt(explain(error));
}

// ------------------------------------------------------------------------- by hand

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else player.requestFullscreen?.();
}

let idle;
/** The controls hide while nobody moves; a pause or a focus inside keeps them. */
function wake() {
  player.classList.remove("idle");
  clearTimeout(idle);
  const kept = () => paused || !part("message").hidden || part("controls").matches(":focus-within");
  idle = setTimeout(() => kept() || player.classList.add("idle"), 3000);
}

part("pause").onclick = () => setPaused(!paused);
part("next").onclick = next;
part("previous").onclick = previous;
part("fullscreen").onclick = toggleFullscreen;
part("fullscreen").hidden = !document.fullscreenEnabled;
part("unmute").onclick = () => {
  if (video) video.muted = false;
  part("unmute").hidden = true;
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onControl = event.target.closest("a, button");
  const keys = {
    " ": () => !onControl && setPaused(!paused),
    ArrowRight: next,
    ArrowLeft: previous,
    f: toggleFullscreen,
    Escape: () => document.fullscreenElement || leave.click(),
  };
  if (!keys[event.key]) return;
  if (!(event.key === " " && onControl)) event.preventDefault();
  keys[event.key]();
  wake();
});

let from = null;
stage.addEventListener("pointerdown", ({ clientX }) => (from = clientX));
stage.addEventListener("pointerup", ({ clientX }) => {
  const way = from === null ? 0 : clientX - from;
  from = null;
  if (Math.abs(way) > 50) way < 0 ? next() : previous();
});
for (const kind of ["pointermove", "pointerdown", "focusin"]) addEventListener(kind, wake);

show(0);
wake();
