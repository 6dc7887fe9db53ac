// The media of a slideshow, one card each: adding, ordering, removing, looking at them.

const field = (node, name) => node.querySelector(`[name="${name}"]`);

/** The items of a slideshow as <li>s; `hooks` = {changed, looked, say, looksLikePage}. */
export class Cards {
  constructor(list, template, hooks) {
    Object.assign(this, { list, template, hooks, removed: [] });
    this.inSight = new IntersectionObserver((entries) => this.load(entries));
    list.addEventListener("click", ({ target }) => this.click(target.closest("button")));
    list.addEventListener("change", ({ target }) => this.change(target));
  }

  /** The cards in order. */
  get nodes() {
    return [...this.list.children];
  }

  /** The items as they stand now, as the API takes them. */
  read() {
    return this.nodes.map((node) => this.item(node));
  }

  item(node) {
    const type = field(node, "type").value;
    const captions = type === "video" && field(node, "captions").value.trim();
    return {
      mediaUrl: field(node, "mediaUrl").value.trim(),
      type,
      caption: field(node, "caption").value.trim() || null,
      thumbnail: node.thumbnail,
      ...(captions && { captions }),
    };
  }

  /** Show these items instead of all others. */
  show(items) {
    this.removed = [];
    this.list.replaceChildren(...items.map((item) => this.card(item)));
    this.renumber();
  }

  /** Add items that were just given: a picture that fails is tried as a video, see `fail`. */
  add(items) {
    this.list.append(...items.map((item) => this.card(item, true)));
    this.renumber();
    this.hooks.changed();
  }

  card(item, fresh = false) {
    const node = this.template.content.firstElementChild.cloneNode(true);
    node.thumbnail = item.thumbnail || null;
    node.fresh = fresh;
    for (const name of ["mediaUrl", "caption", "type", "captions"]) {
      field(node, name).value = item[name] ?? "";
    }
    this.look(node);
    return node;
  }

  // --------------------------------------------------------------------- its picture

  /** Show what a card's address leads to. */
  look(node) {
    const { type } = this.item(node);
    this.draw(node, type);
    this.dress(node, type);
    this.hooks.looked();
  }

  /** Its picture; that of a video without a thumbnail is its first frame. */
  draw(node, type) {
    const { mediaUrl, thumbnail } = this.item(node);
    const film = type === "video" && !thumbnail;
    const shown = film ? this.film(node, mediaUrl) : this.image(node, thumbnail ?? mediaUrl);
    shown.className = "medium";
    shown.onerror = () => this.fail(node, type);
    const frame = node.querySelector(".picture");
    frame.querySelector(".medium")?.remove();
    frame.prepend(shown);
    frame.classList.remove("broken");
    return shown;
  }

  /** What only a picture has, or only a video. */
  dress(node, type) {
    node.classList.toggle("pictured", type === "image"); // a phone shows no more of it
    const captions = field(node, "captions");
    captions.closest(".field").hidden = captions.disabled = type !== "video";
    node.querySelector("[data-cover]").hidden = type === "video" && !node.thumbnail;
  }

  image(node, src) {
    const image = new Image();
    image.alt = "";
    image.referrerPolicy = "no-referrer";
    image.loading = node.fresh ? "eager" : "lazy";
    image.src = src;
    return image;
  }

  film(node, src) {
    const film = document.createElement("video");
    film.muted = true;
    film.preload = "metadata";
    film.dataset.src = `${src}#t=0.1`;
    if (node.fresh) film.src = film.dataset.src;
    else this.inSight.observe(film);
    return film;
  }

  load(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      target.src = target.dataset.src;
      this.inSight.unobserve(target);
    }
  }

  /** What was just given and fails as a picture is tried as a video, and the other way
   * round; what is neither is told. */
  fail(node, type) {
    if (node.fresh) return this.attempt(node, type === "video" ? "image" : "video");
    const page = this.hooks.looksLikePage(this.item(node).mediaUrl);
    const frame = node.querySelector(".picture");
    frame.dataset.why = page ? "A web page, not a picture" : "Cannot be shown";
    frame.classList.add("broken");
    node.classList.remove("pictured");
    return this.hooks.looked();
  }

  /** Its kind is another one only once that is seen to work: until then it is no change. */
  attempt(node, type) {
    const shown = this.draw(node, type);
    node.fresh = false; // a third time would be the first one again
    shown.onload = shown.onloadeddata = () => {
      if (!shown.isConnected || field(node, "type").value === type) return;
      field(node, "type").value = type;
      this.dress(node, type);
      this.hooks.changed();
    };
  }

  /** The cards whose media cannot be shown. */
  get broken() {
    return this.nodes.filter((node) => node.querySelector(".broken"));
  }

  // ------------------------------------------------------------------------ its place

  /** Numbers, names, disabled ends and the broken ones, after any change of the list. */
  renumber() {
    const { nodes } = this;
    nodes.forEach((node, index) => this.number(node, index + 1, nodes.length));
    this.hooks.looked(); // what cannot be shown may be among what went or came back
  }

  number(node, place, count) {
    const name = `item ${place}`;
    const tell = (input, label) => input.setAttribute("aria-label", label);
    field(node, "place").value = place;
    field(node, "place").max = count;
    tell(field(node, "place"), `Place of ${name}`);
    tell(field(node, "caption"), `Caption of ${name}`);
    tell(field(node, "mediaUrl"), `Address of ${name}`);
    tell(field(node, "type"), `Kind of ${name}`);
    tell(field(node, "captions"), `Captions file of ${name}`);
    const [up, down, remove] = node.querySelectorAll(".moves button");
    tell(up, `Move ${name} up`);
    tell(down, `Move ${name} down`);
    tell(remove, `Remove ${name}`);
    up.setAttribute("aria-disabled", place === 1);
    down.setAttribute("aria-disabled", place === count);
    node.querySelector("[data-cover]").dataset.name = name;
  }

  /** Put a card at a place, counted from 1; what is out of range is the nearest end. */
  move(node, place) {
    const others = this.nodes.filter((other) => other !== node);
    const index = Math.max(0, Math.min(others.length, Math.trunc(place) - 1));
    this.list.insertBefore(node, others[index] ?? null);
    this.settled(node);
  }

  /** Say where a card has come to. */
  settled(node) {
    this.renumber();
    this.hooks.changed();
    const place = this.nodes.indexOf(node) + 1;
    this.hooks.say(`Moved to place ${place} of ${this.nodes.length}.`);
  }

  click(button) {
    const node = button?.closest("li");
    if (!node) return;
    if ("remove" in button.dataset) this.remove(node);
    if (!button.dataset.move) return;
    this.move(node, this.nodes.indexOf(node) + 1 + Number(button.dataset.move));
    button.focus(); // moving a node takes its focus
  }

  change(input) {
    const node = input.closest("li");
    if (input.name === "place") return this.jump(node, input);
    if (input.name === "mediaUrl") {
      node.thumbnail = null; // it was the old one's
      node.fresh = true;
    }
    if (input.name === "type") node.fresh = false; // it is what its owner says
    if (["mediaUrl", "type"].includes(input.name)) this.look(node);
    return null;
  }

  jump(node, input) {
    if (input.value) this.move(node, Number(input.value));
    else this.renumber();
    input.focus();
    node.scrollIntoView({ block: "nearest" });
  }

  // ------------------------------------------------------------------ removing, undoing

  remove(node) {
    const after = node.nextElementSibling;
    this.removed.push({ node, after });
    node.remove();
    this.renumber();
    this.hooks.changed();
    const next = after ?? this.list.lastElementChild;
    if (next) next.querySelector("[data-remove]").focus();
    else this.hooks.emptied();
  }

  /** What was removed last, in words; "" where there is nothing to undo. */
  get lastRemoved() {
    const last = this.removed[this.removed.length - 1];
    if (!last) return "";
    const { caption, mediaUrl } = this.item(last.node);
    return caption || mediaUrl.split(/[?#]/)[0].split("/").pop() || mediaUrl || "An item";
  }

  /** Bring back what was removed last, to its place. */
  undo() {
    const { node, after } = this.removed.pop();
    const stands = after?.parentElement === this.list;
    this.list.insertBefore(node, stands ? after : null);
    this.settled(node);
    node.querySelector("[data-remove]").focus();
  }
}
