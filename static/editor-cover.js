// The cover: the first picture, unless another one, or none, is chosen.

/** The picture that is the cover of these items where none is chosen. */
const firstPicture = (media) => media.find(({ type }) => type === "image")?.mediaUrl ?? null;

/** The picture that a card can give as cover: a video's is its thumbnail. */
function pictureOf(card) {
  const [type, address] = ["type", "mediaUrl"].map((name) =>
    card.querySelector(`[name=${name}]`).value);
  return type === "video" ? card.thumbnail : address;
}

/** The field with the cover's address, its picture, and the cards' "Use as cover". */
export class Cover {
  constructor(input, frame, list, changed) {
    Object.assign(this, { input, frame, list });
    input.addEventListener("input", () => this.choose(input.value));
    list.addEventListener("click", ({ target }) => {
      if (!target.closest("[data-cover]")) return;
      this.choose(pictureOf(target.closest("li")));
      changed();
    });
  }

  /** Show a slideshow's cover. `thumbnail` is undefined where none was ever chosen. */
  show(thumbnail, media) {
    this.saved = thumbnail;
    this.automatic = thumbnail === undefined || thumbnail === firstPicture(media);
    this.input.value = thumbnail ?? "";
  }

  /** Take over what was saved of `sent`; what was chosen meanwhile stays. */
  keep(thumbnail, sent) {
    if (this.value === sent.thumbnail) this.show(thumbnail, sent.media);
    else this.saved = thumbnail;
  }

  choose(address) {
    this.automatic = false;
    this.input.value = address;
  }

  /** Follow the first picture, and mark the card that is the cover. */
  follow(media) {
    if (this.automatic) this.input.value = firstPicture(media) ?? "";
    const address = this.input.value.trim();
    for (const button of this.list.querySelectorAll("[data-cover]")) {
      this.mark(button, address !== "" && pictureOf(button.closest("li")) === address);
    }
    if (address !== this.drawn) this.draw(address);
  }

  mark(button, chosen) {
    const text = chosen ? "Cover" : "Use as cover";
    button.textContent = text;
    button.setAttribute("aria-label", `${text}: ${button.dataset.name}`);
    button.setAttribute("aria-pressed", chosen);
  }

  draw(address) {
    this.drawn = address;
    this.frame.replaceChildren();
    if (!/^https?:\/\//i.test(address)) return; // not typed to its end yet
    const image = new Image();
    image.alt = "";
    image.referrerPolicy = "no-referrer";
    image.onerror = () => image.remove(); // behind it is the drawing
    image.src = address;
    this.frame.append(image);
  }

  /** What to save; undefined for a new slideshow whose cover the service is to choose. */
  get value() {
    const chosen = this.input.value.trim() || null;
    return this.automatic && this.saved === undefined ? undefined : chosen;
  }
}
