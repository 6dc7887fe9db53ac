// The shelf of one's slideshows: search, order, and what each tile's menu does.

const { base } = document.documentElement.dataset;
const part = (name) => import(document.querySelector(`[data-part=${name}]`).href);
let api, dates, dialogs, links; // the modules, once they have come

const shelf = document.getElementById("shelf");
const finder = document.getElementById("finder");
const found = document.getElementById("found");
const trouble = document.getElementById("trouble");

// ------------------------------------------------------------------ search and order

const compare = new Intl.Collator(undefined, { numeric: true }).compare;
const orders = {
  created: (a, b) => compare(b.created, a.created) || b.id - a.id,
  updated: (a, b) => compare(b.updated, a.updated) || b.id - a.id,
  opens: (a, b) => b.opens - a.opens || b.id - a.id,
  title: (a, b) => compare(a.title, b.title),
};

/** A text without case and accents: "lake" finds "Läke". */
const plain = (text) =>
  text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").toLowerCase();

function matches({ title, words }, wanted) {
  const text = plain(`${title} ${words}`);
  return wanted.every((word) => text.includes(word));
}

/** Hide what is not looked for. */
function filter() {
  const wanted = plain(finder.elements.search.value).split(/\s+/).filter(Boolean);
  const tiles = [...shelf.children];
  for (const tile of tiles) tile.hidden = !matches(tile.dataset, wanted);
  const count = tiles.filter(({ hidden }) => !hidden).length;
  const soFar = rest ? " so far" : "";
  found.textContent = wanted.length ? `${count} of ${tiles.length}${soFar}` : "";
}

/** Put the tiles in the order that is wished for, and hide what is not looked for. */
function arrange() {
  const order = orders[finder.elements.sort.value];
  shelf.append(...[...shelf.children].sort((a, b) => order(a.dataset, b.dataset)));
  filter();
}

/** The page to fetch next; first of all page one, where this is a later one. */
const older = document.getElementById("older");
let rest = new URLSearchParams(location.search).has("cursor") ? `${base}/` : older?.href;
let fetching = false;

/** All pages of the shelf: what is not here cannot be found. */
async function fetchRest() {
  if (fetching) return;
  fetching = true;
  try {
    while (rest) {
      const url = new URL(rest, location.href);
      url.searchParams.set("limit", "200");
      const fresh = await api.page(url);
      add(fresh.querySelectorAll("#shelf > li"));
      rest = fresh.getElementById("older")?.getAttribute("href");
      arrange();
    }
    older?.parentElement.remove();
  } catch (error) {
    api.tell(trouble, error);
  } finally {
    fetching = false;
  }
}

function add(tiles) {
  for (const tile of tiles) {
    if (shelf.querySelector(`[data-id="${tile.dataset.id}"]`)) continue; // it is here
    dates.localize(tile);
    api.ready("shelf", tile);
    shelf.append(tile);
  }
}

function find({ target }) {
  trouble.hidden = true;
  if (target.name === "sort") arrange();
  else filter();
  fetchRest();
}

// -------------------------------------------------------------------- a tile's menu

const pathOf = ({ dataset }) => `/api/sessions/${dataset.id}`;

/** Make the link for everyone; where the links are paused, they work again. */
async function share(tile) {
  const { shareUrl } = await api.call("POST", `${pathOf(tile)}/share`);
  tile.dataset.url = shareUrl;
  tile.querySelector("[data-act=copy]").textContent = "Copy link";
  show(tile, "on");
}

function show(tile, state) {
  tile.classList.remove("on", "held", "off");
  tile.classList.add(state);
}

async function copy(tile) {
  if (!tile.dataset.url) await share(tile);
  if (await links.copyText(tile.dataset.url)) return "Link copied.";
  return `The link: ${tile.dataset.url}`;
}

async function publish(tile, isPublic) {
  await api.call("PATCH", pathOf(tile), { isPublic });
  show(tile, isPublic ? "on" : "held");
  return isPublic ? "The links work again." : "The links are paused.";
}

async function duplicate(tile) {
  const { session, media } = await api.call("GET", pathOf(tile));
  const title = `${[...session.title].slice(0, 190).join("")} (copy)`; // no emoji is cut in two
  const copied = { ...session, title, isPublic: false };
  const { id } = await api.call("POST", "/api/sessions", { session: copied, media });
  const fresh = await api.page(`${base}/`);
  add(fresh.querySelectorAll(`#shelf > [data-id="${id}"]`));
  arrange();
  return `“${title}” is there.`;
}

/** What has the focus once a tile is gone: the next one that is seen, or else the last. */
function focusBeside(tile) {
  const seen = [...shelf.children].filter((other) => other === tile || !other.hidden);
  const at = seen.indexOf(tile);
  const next = seen[at + 1] ?? seen[at - 1];
  (next?.querySelector("h2 a") ?? finder.elements.search).focus();
}

async function remove(tile) {
  const { id, title } = tile.dataset;
  if (!(await dialogs.askToDelete(api, { id, title }))) return "";
  focusBeside(tile);
  tile.remove();
  if (!shelf.children.length) location.reload();
  return `“${title}” is deleted.`;
}

const actions = {
  copy,
  pause: (tile) => publish(tile, false),
  resume: (tile) => publish(tile, true),
  duplicate,
  delete: remove,
};

function act({ target }) {
  const button = target.closest("button");
  const name = button?.dataset.act;
  if (!name) return;
  const tile = target.closest("li");
  api.busy(button, async () => {
    trouble.hidden = true;
    try {
      found.textContent = await actions[name](tile);
    } catch (error) {
      api.tell(trouble, error);
    }
  });
}

async function main() {
  if (!shelf) return; // nothing on it yet
  [api, dates, dialogs, links] = await Promise.all(
    ["api", "dates", "dialogs", "links"].map(part));
  finder.hidden = false;
  finder.addEventListener("input", find);
  finder.addEventListener("submit", (event) => event.preventDefault());
  shelf.addEventListener("click", act);
  api.ready("shelf");
  arrange(); // by what the browser kept over a reload, or for who comes back
  if (finder.elements.sort.selectedIndex) fetchRest(); // the first one may be on another page
}

main();
