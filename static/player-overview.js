// The overview: a grid of all items, to jump by. Only what comes into sight is loaded.

/** What a tile shows of its item: a small picture, or the sign that it is a video. */
function draw(tile, { type, thumbnail, mediaUrl, caption }) {
  const number = tile.textContent;
  tile.setAttribute("aria-label", caption ? `${number}: ${caption}` : `Item ${number}`);
  tile.classList.toggle("film", type === "video");
  const src = thumbnail ?? (type === "image" ? mediaUrl : null);
  if (!src || tile.querySelector("img")) return;
  const picture = new Image();
  picture.alt = "";
  picture.decoding = "async";
  picture.referrerPolicy = "no-referrer";
  picture.onerror = () => picture.remove();
  picture.src = src;
  tile.prepend(picture);
}

function tileOf(index) {
  const item = document.createElement("li");
  const tile = document.createElement("button");
  tile.type = "button";
  tile.tabIndex = -1;
  tile.dataset.index = index;
  tile.setAttribute("aria-label", `Item ${index + 1}`);
  tile.append(Object.assign(document.createElement("span"), { textContent: index + 1 }));
  item.append(tile);
  return item;
}

/** How far the arrow keys go in a grid with as many columns as are seen. */
function strides(grid) {
  const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  return { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
}

export function makeOverview({ part, player, show, order, media }) {
  const panel = part("overview");
  const grid = part("tiles");
  const sight = new IntersectionObserver(appear, { root: panel, rootMargin: "200px" });
  let resumes = false; // whether the show goes on when the overview closes

  function appear(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      sight.unobserve(target);
      const tile = target.firstChild;
      media.item(Number(tile.dataset.index)).then((item) => item && draw(tile, item), () => {});
    }
  }

  function build() {
    sight.disconnect();
    grid.replaceChildren(...Array.from({ length: order.total }, (_, index) => tileOf(index)));
  }

  /** Also what could not be loaded the last time. */
  function look() {
    for (const item of grid.children) if (!item.querySelector("img")) sight.observe(item);
  }

  const tileAt = (index) => grid.children[index]?.firstChild;

  /** One tile is in the order of Tab; the arrow keys go to the others. */
  function focus(index) {
    const tile = tileAt(index);
    if (!tile) return;
    for (const other of grid.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    tile.tabIndex = 0;
    tile.focus({ preventScroll: true });
    tile.scrollIntoView({ block: "nearest" });
  }

  function mark(index) {
    for (const tile of grid.querySelectorAll("[aria-current]")) {
      tile.removeAttribute("aria-current");
    }
    tileAt(index)?.setAttribute("aria-current", "true");
    tileAt(index)?.scrollIntoView({ block: "center" });
  }

  function open() {
    resumes = show.playing;
    if (resumes) show.pause(true);
    if (grid.children.length !== order.total) build();
    player.classList.add("covered");
    panel.hidden = false;
    look();
    mark(show.index);
    focus(show.index);
  }

  function close() {
    player.classList.remove("covered");
    panel.hidden = true;
    part("open-overview").focus({ preventScroll: true });
    if (resumes) show.pause(false);
  }

  function press(event) {
    const index = Number(event.target.dataset.index);
    const stride = strides(grid)[event.key];
    if (event.key === "Escape") close();
    else if (stride && !Number.isNaN(index)) focus(index + stride);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  part("open-overview").onclick = open;
  part("close-overview").onclick = close;
  panel.addEventListener("keydown", press);
  grid.onclick = ({ target }) => {
    const tile = target.closest("button");
    if (!tile) return;
    close();
    show.jump(Number(tile.dataset.index));
  };
  return { isOpen: () => !panel.hidden };
}
