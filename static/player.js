// The player, put together. Each part is a module of its own that gets what it needs handed
// in. So none of them imports another, and their addresses, with the ?v= by which browsers
// may keep them for a year, stand once: in the page's <link data-part>.

const { base } = document.documentElement.dataset;
const part = (id) => document.getElementById(id);
const player = part("player");
const { media: mediaPath, total, min, max, title, owner: ownerName, thumbnail } = player.dataset;
const leave = part("leave");

/** What plays: the memory, the order, the media, the stage and the show. */
function makeShow({ call, Memory, Order, Media, Stage, Sound, Clock, Film, Show }) {
  const memory = new Memory(mediaPath);
  const { shuffled = false, repeated = false } = memory.settings;
  const order = new Order(Number(total), shuffled);
  const media = new Media({ call, path: mediaPath, total: Number(total) });
  const stage = new Stage({ root: part("stage"), release: (medium) => media.release(medium) });
  const sound = new Sound({ part, memory, bless: () => media.bless() });
  const seconds = () => Number(min) + Math.random() * (max - min);
  const makeTime = ({ type }, element, on) => (type === "video"
    ? new Film({ video: element, sound, on })
    : new Clock({ bar: part("time"), seconds: seconds(), on }));
  const show = new Show({ media, order, stage, repeated, makeTime });
  return { part, player, memory, order, media, stage, sound, show };
}

/** What tells of it and what commands it. */
function addControls(parts, modules) {
  const { show } = parts;
  const about = { title, ownerName, thumbnail };
  const notices = modules.makeNotices(parts);
  const fullscreen = modules.offerFullscreen(parts);
  const overview = modules.makeOverview(parts);
  const kept = () => player.matches(".over, .covered") || focusInControls();
  const hands = modules.hideControls({ ...parts, kept });
  modules.drawTransport(parts);
  modules.drawPlace(parts);
  modules.drawTime(parts);
  modules.drawVideoControls(parts);
  modules.showCaptions(parts);
  modules.tellWaiting({ ...parts, ...modules, notices });
  modules.tellHalts({ ...parts, ...modules, base, leave: leave.href });
  modules.offerMore({ ...parts, title });
  modules.stayAwake(parts);
  modules.answerMediaKeys({ ...parts, ...modules, about });
  modules.followHands({ ...parts, ...hands, fullscreen });
  const keys = { keyOf: modules.keyOf, leave: goBack, busy: overview.isOpen };
  modules.followKeys({ ...parts, ...hands, ...keys, fullscreen });
  document.addEventListener("visibilitychange", () => document.hidden || show.resume());
  return notices;
}

/** Begin where one was the last time. */
function start({ show, order, memory }, notices) {
  const place = memory.place < order.total ? memory.place : 0;
  const begin = (index) => {
    order.arrange(index); // shuffled, it leads the order, and all others follow
    show.jump(index);
  };
  begin(place);
  if (!place) return;
  const where = `Going on at ${place + 1} of ${order.total}.`;
  notices.say(where, "From the start", () => begin(0));
}

// Whoever uses the keyboard finds the controls where they are; a tapped button lets go.
let byKeyboard = false;
addEventListener("keydown", () => (byKeyboard = true), true);
addEventListener("pointerdown", () => (byKeyboard = false), true);
const focusInControls = () => byKeyboard && document.activeElement?.closest(".bar") !== null;

/** Leave for the preview, without the player staying behind Back. */
function goBack() {
  const page = (url) => url.split("?")[0];
  const before = page(document.referrer) === page(leave.href) && history.length > 1;
  if (before) history.back();
  else location.replace(leave.href);
}

leave.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  goBack();
});

/** A module did not come. Text and link, which loads this page again, are the page's own. */
function giveUp() {
  player.className = "player over";
  part("wheel").hidden = true;
  for (const id of ["message", "message-link"]) part(id).hidden = false;
}

/** Wait until the page is shown. One that was fetched ahead counts as a play then, as whatever
 * fetches the whole slideshow does. */
async function shown({ call }) {
  const change = "prerenderingchange";
  if (document.prerendering) {
    await new Promise((go) => document.addEventListener(change, go, { once: true }));
  }
  if (player.dataset.ahead) call("GET", player.dataset.ahead).catch(() => {});
}

const links = [...document.querySelectorAll("link[data-part]")];
Promise.all(links.map(({ href }) => import(href))).then(async (loaded) => {
  const modules = Object.assign({}, ...loaded);
  await shown(modules);
  const parts = makeShow(modules);
  start(parts, addControls(parts, modules));
  modules.ready("player");
  player.classList.remove("loading");
}, giveUp);
