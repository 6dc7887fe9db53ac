// The editor of a slideshow: its fields, what is saved of them and when. The media are
// editor-cards.js's, the links share.js's.

const { base } = document.documentElement.dataset;
const part = (name) => import(document.querySelector(`[data-part=${name}]`).href);
let api, conflict, dates, dialogs; // the modules, once they have come
let adding, cards, cover, draft, links, save, webAddress; // and what others give

const form = document.getElementById("editor");
const state = document.getElementById("state");
const given = JSON.parse(form.dataset.session);
const path = given && `/api/sessions/${given.id}`;
const CREATED = "#created"; // in the address of a slideshow that was just made

// ------------------------------------------------------------- what is on the screen

const TEXTS = ["title", "description", "transition"];
const NUMBERS = ["intervalMin", "intervalMax"];

/** The writable members as they stand; `isPublic` is the share panel's. */
function read(media = cards.read()) {
  const fields = form.elements;
  return {
    ...Object.fromEntries(TEXTS.map((name) => [name, fields[name].value.trim()])),
    ...Object.fromEntries(NUMBERS.map((name) => [name, Number(fields[name].value)])),
    thumbnail: cover.value,
    media,
  };
}

function show(session) {
  for (const name of [...TEXTS, ...NUMBERS]) form.elements[name].value = session[name];
  cards.show(session.media);
  cover.show(session.thumbnail, session.media);
  changed();
}

let saved; // as the service has it
let sent; // to be saved, and not answered: the service may have it all the same
let updatedAt = given?.updatedAt;
let leaving = false;

/** The members that differ from what is saved. */
function changes(now) {
  const names = conflict.difference(saved, now);
  if (names.includes("media") && !cover.automatic) names.push("thumbnail"); // it is chosen
  return Object.fromEntries(names.map((name) => [name, now[name]]));
}

const isDirty = (now = read()) => adding.waits || conflict.difference(saved, now).length > 0;

/** After any change: what is told of it, and the draft. */
function changed() {
  const media = cards.read();
  cover.follow(media);
  if (!saved) return; // not all is shown yet
  const now = read(media);
  const dirty = isDirty(now);
  const told = dirty ? "Unsaved changes" : state.dataset.clean;
  if (state.textContent !== told) state.textContent = told; // read out once
  form.classList.toggle("dirty", dirty);
  count(now);
  tellRemoved();
  if (dirty) draft.write({ at: new Date(), updatedAt, saved, now, pasted: adding.text });
  else draft.clear();
}

function count({ media, intervalMin, intervalMax }) {
  const seconds = Math.round((media.length * (intervalMin + intervalMax)) / 2);
  const items = media.length === 1 ? "1 item" : `${media.length} items`;
  document.getElementById("count").textContent =
    media.length ? `${items}, about ${duration(seconds)}` : "";
  if (path) document.getElementById("play").hidden = !media.length;
}

function duration(seconds) {
  if (seconds < 90) return seconds === 1 ? "1 second" : `${seconds} seconds`;
  return `${Math.round(seconds / 60)} minutes`;
}

/** How many media cannot be shown, beside what saves them. */
function tellBroken() {
  const count = cards?.broken.length ?? 0;
  const button = document.getElementById("broken");
  button.hidden = !count;
  button.textContent = count === 1 ? "1 item cannot be shown" : `${count} items cannot be shown`;
}

function tellRemoved() {
  const bar = document.getElementById("removed");
  const name = cards.lastRemoved;
  bar.hidden = !name;
  bar.firstElementChild.textContent = name && `“${name}” is removed.`;
}

// -------------------------------------------------------------------------- saving

/** The input that an error's field, such as `media[3].caption`, belongs to. */
function inputOf(name) {
  const [, index, member] = /^media\[(\d+)\]\.?(\w*)/.exec(name) ?? [];
  if (index === undefined) return form.elements[name];
  const find = (name) => cards.nodes[index]?.querySelector(`[name="${name}"]`);
  return find(member) ?? find("mediaUrl");
}

/** Save what is on the screen; whether that is done. */
async function saveNow() {
  if (adding.waits && !adding.add()) return false;
  if (!form.reportValidity()) return false;
  api.clear(form);
  const now = read();
  try {
    await (path ? update(now) : create(now));
    return true;
  } catch (error) {
    if (error.code === "EDIT_CONFLICT") return settle(error.current);
    sent = now;
    api.tellForm(form, error, inputOf);
    return false;
  }
}

async function create(now) {
  const { id } = await api.call("POST", "/api/sessions", now);
  leave(`${base}/sessions/${id}${CREATED}`);
  await new Promise(() => {}); // busy until the page goes: one slideshow, not two
}

/** Only what changed is sent, and only onto what was seen. */
async function update(now) {
  const wanted = changes(now);
  if (Object.keys(wanted).length) {
    const seen = { "If-Unmodified-Since": new Date(updatedAt).toUTCString() };
    const session = await api.call("PATCH", path, wanted, seen);
    updatedAt = session.updatedAt;
    cover.keep(session.thumbnail, now);
    saved = { ...now, thumbnail: session.thumbnail };
  }
  document.getElementById("heading").textContent = saved.title;
  document.title = `${saved.title} · Joip Share`;
  state.dataset.clean = "Saved";
  changed();
}

/** Somebody else saved meanwhile: both versions are shown, and one is chosen; none where it is
 * the same as here, or what was sent from here before an answer got lost. */
async function settle(current) {
  const theirs = conflict.writable(current);
  const own = [read(), sent].some((one) => one && !conflict.difference(one, theirs).length);
  const when = dates.moment(current.session.updatedAt);
  const choice = own || await conflict.choose(dialogs, read(), theirs, when);
  if (!choice) return false;
  const wanted = conflict.merge(saved, read(), theirs);
  ({ updatedAt } = current.session);
  if (!own) show(theirs);
  saved = own ? theirs : read();
  if (choice === "mine") show(wanted);
  return saveNow();
}

/** After the links were changed: what the service has now was seen, if it is the same. */
function keepUp(session, media) {
  const now = conflict.writable({ session, media });
  if (!conflict.difference(saved, now).length) updatedAt = session.updatedAt;
}

function leave(where) {
  leaving = true;
  draft.clear();
  if (where) location.replace(where);
}

/** Bring an older draft back; what changed elsewhere since then is noticed at saving. */
function restore(older) {
  adding.text = older.pasted;
  show(older.now);
  if (path) ({ saved, updatedAt } = older);
}

/** Whether a draft says more than what is on the screen. */
const isNews = ({ now, pasted }) => pasted || conflict.difference(read(), now).length > 0;

// ------------------------------------------------------------------ buttons and keys

const saving = (then) => () =>
  api.busy(document.getElementById("save"), async () => (await save()) && then?.());

function tellCreated() {
  if (location.hash !== CREATED) return;
  history.replaceState(null, "", location.pathname); // once: not after a reload
  state.dataset.clean = "Created.";
  form.classList.add("created");
  document.getElementById("share-it").focus();
}

/** Write an address as the service will. */
function normalize({ target }) {
  if (target.type === "url") target.value = webAddress(target.value.trim()) || target.value;
}

function listen() {
  form.addEventListener("change", normalize, true); // before anybody looks at it
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    saving()();
  });
  document.getElementById("undo").addEventListener("click", () => cards.undo());
  document.getElementById("broken").addEventListener("click", () =>
    cards.broken[0].querySelector("[name=mediaUrl]").focus());
  addEventListener("keydown", press);
  addEventListener("beforeunload", (event) => {
    if (leaving || !isDirty()) return;
    event.preventDefault();
    event.returnValue = true; // what Chromium before 119 goes by
  });
  document.addEventListener("leave", askToLeave);
  document.addEventListener("left", () => leave());
}

/** Another script wants to leave for good; it may fail, so that nothing is given up yet. */
function askToLeave(event) {
  if (isDirty() && !confirm("What is not saved will be lost. Go on?")) event.preventDefault();
}

function press(event) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
  const undo = () => cards.lastRemoved && cards.undo();
  const typing = event.target.matches("input, textarea"); // there, Ctrl+Z is the browser's
  const act = { s: saving(), z: typing ? null : undo }[api.keyOf(event)];
  if (!act) return;
  event.preventDefault();
  act();
}

/** What only a slideshow that exists has: playing, links, its end. */
function listenAsOwner() {
  document.getElementById("play").addEventListener("click", (event) => {
    if (!isDirty()) return;
    event.preventDefault();
    saving(() => (location = document.getElementById("play").href))();
  });
  const share = document.getElementById("share-it");
  share.addEventListener("click", () => api.busy(share, () => links.share()));
  document.getElementById("ask-delete").addEventListener("click", async () => {
    const title = document.getElementById("heading").textContent;
    if (!(await dialogs.askToDelete(api, { id: given.id, title }))) return;
    leave();
    location = `${base}/`;
  });
}

/** Everything that the page is made of, by the names of its parts. */
async function modules() {
  const names = ["api", "conflict", "dates", "dialogs", "add", "cards", "cover", "draft",
    "drag", "links", "paste", "share"];
  const loaded = await Promise.all(names.map(part));
  return Object.fromEntries(names.map((name, index) => [name, loaded[index]]));
}

function build({ add, cards: { Cards }, cover: { Cover }, draft: { Draft }, drag, paste }) {
  const list = document.getElementById("media");
  cards = new Cards(list, document.getElementById("card"), {
    changed, looked: tellBroken, say: api.say, looksLikePage: paste.looksLikePage,
    emptied: () => form.elements.paste.focus(),
  });
  const frame = document.getElementById("cover");
  cover = new Cover(form.elements.thumbnail, frame, list, changed);
  draft = new Draft(`draft-${form.dataset.user}-${given?.id ?? "new"}`);
  adding = new add.Adding(form, { api, paste, cards });
  drag.sortable(list, (node) => cards.settled(node));
  ({ webAddress } = paste);
}

async function main() {
  const loaded = await modules();
  ({ api, conflict, dates, dialogs } = loaded);
  save = api.inTurn(saveNow);
  build(loaded);
  const items = JSON.parse(form.dataset.media);
  cards.show(items);
  cover.show(given ? given.thumbnail : undefined, items);
  cover.follow(items);
  // Not what was typed before this script was here, or was kept over a reload.
  saved = { ...read(), ...(given ? conflict.words(given) : { title: "", description: "" }) };
  listen();
  if (given) {
    links = loaded.share.panel({ api, dialogs, dates, clipboard: loaded.links, save, keepUp });
    listenAsOwner();
    tellCreated();
  }
  api.ready("editor");
  const when = ({ at }) => dates.moment(at);
  draft.offer(document.getElementById("draft"), { isNews, when, restore, changed });
  changed();
}

main();
