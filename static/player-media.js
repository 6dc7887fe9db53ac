// The media: told by the API page by page, loaded one ahead, held until they are shown.

const PAGE = 50; // items per request

/** A caption, else the file's name, as well as it can be read. */
export function nameOf({ caption, mediaUrl }) {
  const file = mediaUrl.split(/[?#]/)[0].split("/").pop();
  try {
    return caption || decodeURIComponent(file) || mediaUrl;
  } catch {
    return file; // not percent-encoded after all
  }
}

/** An address as this browser reads it; its `protocol` is ":" if it is none. */
const parse = (href) => Object.assign(document.createElement("a"), { href });

/** Whether an address is one that a browser can fetch from. */
export const isWeb = (href) => /^https?:$/.test(parse(href).protocol);

/** Fulfilled by an event of an element, rejected by its `error`. */
function arrival(element, event) {
  return new Promise((resolve, reject) => {
    element[`on${event}`] = resolve;
    element.onerror = reject;
  });
}

function loadImage({ mediaUrl, caption }) {
  const element = new Image();
  element.alt = caption ?? "";
  element.referrerPolicy = "no-referrer";
  const loaded = arrival(element, "load");
  element.src = mediaUrl;
  const drawable = () => element.decode().catch(() => {}); // so that no fade stumbles
  return { element, ready: loaded.then(drawable).then(() => element) };
}

export class Media {
  /** @param {{call: Function, path: string, total: number}} given `path` in the API */
  constructor({ call, path, total }) {
    Object.assign(this, { call, path, total });
    this.pages = new Map();
    this.loads = new Map(); // index → {element, ready}
    this.broken = new Set(); // indices of what answered with an error
    this.spare = []; // <video> elements that wait for their next use
  }

  /** The item at `index`, fetched with its page when it is first wanted.
   * @throws {ApiError} */
  async item(index) {
    const offset = index - (index % PAGE);
    if (!this.pages.has(offset)) {
      const query = `?offset=${offset}&limit=${PAGE}`;
      this.pages.set(offset, this.call("GET", this.path + query));
    }
    try {
      const page = await this.pages.get(offset);
      // Edited meanwhile: what was told before is forgotten.
      if (page.total !== this.total) this.pages = new Map([[offset, page]]);
      this.total = page.total;
      return page.media[index - offset];
    } catch (error) {
      this.pages.delete(offset);
      throw error;
    }
  }

  /** The element that shows an item, once there is something of it to see.
   * @returns {Promise<HTMLElement>} rejected if the item is broken */
  load(index, item) {
    if (!this.loads.has(index)) {
      const load = item.type === "video" ? this.#loadVideo(item) : loadImage(item);
      this.loads.set(index, load);
      // Ahead of its turn it may have met a moment without a network: once more then.
      load.ready.catch(() => this.loads.get(index) === load && this.drop(index));
    }
    return this.loads.get(index).ready;
  }

  /** Begin to load the item at `index`, whose turn is next. */
  async prepare(index) {
    try {
      this.load(index, await this.item(index));
    } catch {
      // It is asked for again when its turn comes.
    }
  }

  /** Stop loading everything but the item at `index`. */
  keepOnly(index) {
    for (const other of [...this.loads.keys()]) if (other !== index) this.drop(other);
  }

  /** Stop loading an item; the next time it is loaded from the start. */
  drop(index) {
    const load = this.loads.get(index);
    this.loads.delete(index);
    if (load) this.release(load.element);
  }

  /** An element goes to the stage: it is loaded no more, nor dropped. */
  take(index) {
    this.loads.delete(index);
  }

  /** An element is not needed any more: its download ends, and a video is kept for reuse. */
  release(element) {
    element.onload = element.onerror = null;
    element.removeAttribute("src");
    if (element.tagName !== "VIDEO") return;
    element.onloadedmetadata = null;
    element.replaceChildren();
    element.removeAttribute("poster");
    element.load();
    this.spare.push(element);
  }

  /** To be called while a hand is on the screen, at first. iOS lets a video play aloud only if a
   * gesture reached that very element, and load() does: hence the few that go round. */
  bless() {
    if (this.blessed) return;
    this.blessed = true;
    while (this.spare.length < 3) this.spare.push(document.createElement("video"));
    const ahead = [...this.loads.values()].map(({ element }) => element);
    for (const video of [...this.spare, ...ahead]) video.load?.();
  }

  #loadVideo(item) {
    const element = this.spare.pop() ?? document.createElement("video");
    element.playsInline = true;
    element.preload = "auto";
    element.setAttribute("aria-label", item.caption || "Video");
    if (item.thumbnail) element.poster = item.thumbnail;
    const ready = this.#fill(element, item).then(() => element);
    return { element, ready };
  }

  /** A telephone loads no more than the metadata before play(), so they must do.
   *
   * Captions from another host come by CORS or not at all, and `crossorigin` asks the same
   * of the video. A host that does not allow it has its video shown without captions. */
  async #fill(element, { mediaUrl, captions }) {
    const foreign = captions && parse(captions).origin !== location.origin;
    element.crossOrigin = foreign ? "anonymous" : null;
    if (captions) element.append(track(captions));
    try {
      await this.#fetch(element, mediaUrl);
    } catch (error) {
      if (!foreign) throw error;
      element.replaceChildren();
      element.crossOrigin = null;
      await this.#fetch(element, mediaUrl);
    }
  }

  #fetch(element, mediaUrl) {
    const known = arrival(element, "loadedmetadata");
    element.src = mediaUrl;
    return known;
  }
}

function track(captions) {
  const element = document.createElement("track");
  element.kind = "captions";
  element.label = "Captions";
  element.src = captions;
  return element;
}
