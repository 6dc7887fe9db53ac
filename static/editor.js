// The editor of a session: its fields, its media, saving, deleting.

const { base, api } = document.documentElement.dataset;
const { blame, busy, call, clear, tell, tellForm } = await import(api);

const form = document.getElementById("editor");
const list = document.getElementById("media");
const pasted = form.elements.media;
const state = document.getElementById("state");
const announce = document.getElementById("announce");
const LIMIT = 500;

// ---------------------------------------------------------------- one card an item

/** @param {{mediaUrl: string, type: string, caption: ?string, thumbnail: ?string}} item */
function card(item) {
  const node = document.getElementById("card").content.firstElementChild.cloneNode(true);
  node.item = item;
  field(node, "mediaUrl").value = item.mediaUrl;
  field(node, "caption").value = item.caption ?? "";
  field(node, "type").value = item.type;
  picture(node);
  return node;
}

const field = (node, name) => node.querySelector(`[name="${name}"]`);

/** The item of a card as it stands now. */
function read(node) {
  return {
    mediaUrl: field(node, "mediaUrl").value.trim(),
    type: field(node, "type").value,
    caption: field(node, "caption").value.trim() || null,
    thumbnail: node.item.thumbnail || null,
  };
}

/** A card's thumbnail; a video without one shows its first frame, once in sight. */
function picture(node) {
  const { mediaUrl, type, thumbnail } = read(node);
  const moving = type === "video" && !thumbnail;
  const shown = document.createElement(moving ? "video" : "img");
  if (moving) {
    shown.muted = true;
    shown.preload = "metadata";
    shown.dataset.src = `${mediaUrl}#t=0.1`;
    inSight.observe(shown);
  } else {
    shown.alt = "";
    shown.loading = "lazy";
    shown.src = thumbnail ?? mediaUrl;
  }
  const frame = node.querySelector(".picture");
  frame.classList.remove("broken");
  shown.onerror = () => frame.classList.add("broken");
  frame.replaceChildren(shown);
}

const inSight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    target.src = target.dataset.src;
    inSight.unobserve(target);
  }
});

/** Numbers, names and disabled ends, after any change of the list. */
function renumber() {
  const cards = [...list.children];
  cards.forEach((node, index) => {
    const name = `item ${index + 1}`;
    node.querySelector(".number").textContent = index + 1;
    field(node, "caption").ariaLabel = `Caption of ${name}`;
    field(node, "mediaUrl").ariaLabel = `Address of ${name}`;
    field(node, "type").ariaLabel = `Kind of ${name}`;
    const [up, down, remove] = node.querySelectorAll("button");
    up.ariaLabel = `Move ${name} up`;
    down.ariaLabel = `Move ${name} down`;
    remove.ariaLabel = `Remove ${name}`;
    up.ariaDisabled = String(index === 0);
    down.ariaDisabled = String(index === cards.length - 1);
  });
  document.getElementById("count").textContent =
    cards.length === 1 ? "1 item" : `${cards.length} items`;
  document.getElementById("empty").hidden = cards.length > 0;
}

// -------------------------------------------------------------- adding and ordering

const VIDEO = /\.(mp4|webm|mov|m4v|ogv)$/i;

/** The pasted lines become cards; what is no address stays, with the reason. */
function add() {
  clear(form);
  const lines = pasted.value.split("\n").map((line) => line.trim()).filter(Boolean);
  const left = [];
  let added = 0;
  for (const line of lines) {
    const url = /^https?:\/\//i.test(line) && URL.canParse(line) && new URL(line);
    if (!url || list.children.length >= LIMIT) {
      left.push(line);
      continue;
    }
    const type = VIDEO.test(url.pathname) ? "video" : "image";
    list.append(card({ mediaUrl: line, type, caption: null, thumbnail: null }));
    added += 1;
  }
  pasted.value = left.join("\n");
  renumber();
  changed();
  if (added) announce.textContent = `${added} added, ${list.children.length} in all.`;
  if (left.length) {
    blame(pasted, list.children.length >= LIMIT
      ? `A session holds ${LIMIT} items; what did not fit is left here.`
      : "These lines are not http or https addresses; they are left here.");
    pasted.focus();
  }
  return left.length === 0;
}

function move(node, step) {
  const other = step < 0 ? node.previousElementSibling : node.nextElementSibling;
  if (!other) return;
  if (step < 0) other.before(node);
  else other.after(node);
  settled(node);
}

function settled(node) {
  renumber();
  changed();
  const place = [...list.children].indexOf(node) + 1;
  announce.textContent = `Moved to place ${place} of ${list.children.length}.`;
}

function remove(node) {
  const next = node.nextElementSibling ?? node.previousElementSibling;
  node.remove();
  renumber();
  changed();
  (next ? next.querySelectorAll("button")[2] : pasted).focus();
  announce.textContent = `Removed, ${list.children.length} left.`;
}

list.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  const node = target.closest("li");
  if (!button) return;
  if (button.dataset.move === undefined) return remove(node);
  move(node, Number(button.dataset.move));
  button.focus(); // moving a node takes its focus
});

list.addEventListener("change", ({ target }) => {
  if (target.name === "caption") return;
  const node = target.closest("li");
  if (target.name === "mediaUrl") node.item.thumbnail = null; // it was the old one's
  picture(node);
});

// Dragging by pointer events, since HTML's own drag and drop knows no touch; without
// capture, which a node loses when it is moved.
list.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest(".grip");
  if (!grip || event.button !== 0) return;
  event.preventDefault();
  const node = grip.closest("li");
  const before = node.nextElementSibling;
  node.classList.add("dragged");
  const drag = ({ clientX, clientY }) => {
    const edge = clientY < 60 ? -12 : clientY > innerHeight - 120 ? 12 : 0;
    if (edge) scrollBy(0, edge);
    const over = document.elementFromPoint(clientX, clientY)?.closest("#media > li");
    if (!over || over === node) return;
    const { top, height } = over.getBoundingClientRect();
    if (clientY < top + height / 2) over.before(node);
    else over.after(node);
  };
  const drop = ({ type }) => {
    ended.abort();
    node.classList.remove("dragged");
    if (type === "pointercancel") list.insertBefore(node, before);
    else if (node.nextElementSibling !== before) settled(node);
  };
  const ended = new AbortController();
  addEventListener("pointermove", drag, ended);
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, drop, ended);
});

// ------------------------------------------------------------- saving, and not losing

/** The writable members as they stand; `isPublic` is the share panel's. */
function session() {
  const { title, description, intervalMin, intervalMax, transition, thumbnail } =
    form.elements;
  return {
    title: title.value.trim(),
    description: description.value.trim(),
    intervalMin: Number(intervalMin.value),
    intervalMax: Number(intervalMax.value),
    transition: transition.value,
    thumbnail: thumbnail.value.trim() || null,
    media: [...list.children].map(read),
  };
}

let saved;
const unsaved = () => pasted.value.trim() !== "" || JSON.stringify(session()) !== saved;

function changed() {
  const dirty = unsaved();
  const told = dirty ? "Unsaved changes" : state.dataset.clean;
  if (state.textContent !== told) state.textContent = told; // read out once
  state.classList.toggle("dirty", dirty);
}

/** The input that an error's field, such as `media[3].caption`, belongs to. */
function inputOf(name) {
  const [, index, member] = /^media\[(\d+)\]\.?(\w*)/.exec(name) ?? [];
  if (index === undefined) return form.elements[name];
  const node = list.children[index];
  return node && (field(node, member || "mediaUrl") ?? field(node, "mediaUrl"));
}

async function save() {
  if (pasted.value.trim() && !add()) return;
  clear(form);
  const wanted = session();
  try {
    const { id } = form.dataset;
    const answer = await (id
      ? call("PATCH", `/api/sessions/${id}`, wanted)
      : call("POST", "/api/sessions", wanted));
    saved = JSON.stringify(wanted);
    state.dataset.clean = "Saved";
    changed();
    if (!id) {
      location.replace(`${base}/sessions/${answer.id}`);
      await new Promise(() => {}); // busy until the page goes: one session, not two
    }
    document.getElementById("heading").textContent = answer.title;
    document.title = `${answer.title} · Joip Share`;
  } catch (error) {
    tellForm(form, error, inputOf);
  }
}

form.addEventListener("input", changed);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(document.getElementById("save"), save);
});
document.getElementById("add").addEventListener("click", add);
addEventListener("beforeunload", (event) => {
  if (unsaved()) event.preventDefault();
});

// ------------------------------------------------------------------------- deleting

const dialog = document.getElementById("delete");
if (dialog) {
  document.getElementById("ask-delete").addEventListener("click", () => dialog.showModal());
  document.getElementById("keep").addEventListener("click", () => dialog.close());
  document.getElementById("really").addEventListener("click", ({ currentTarget }) =>
    busy(currentTarget, async () => {
      try {
        await call("DELETE", `/api/sessions/${form.dataset.id}`);
        saved = JSON.stringify(session());
        pasted.value = "";
        location = `${base}/`;
      } catch (error) {
        tell(dialog.querySelector(".problem"), error);
      }
    }));
}

list.append(...JSON.parse(list.dataset.media).map(card));
renumber();
saved = JSON.stringify(session());
changed();
