// What this browser remembers: one's settings of the player, and the place in each slideshow.

const SETTINGS = "joip-share:player";
const PLACES = "joip-share:places";
const MOST = 200; // places; the slideshow that was played longest ago is forgotten first

/** What is kept; nothing where storage is forbidden or holds what nobody here wrote. */
function read(key) {
  try {
    return { ...JSON.parse(localStorage.getItem(key)) };
  } catch {
    return {};
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Nothing is remembered then; everything else works.
  }
}

export class Memory {
  /** @param {string} slideshow what tells the one that is played from others */
  constructor(slideshow) {
    this.slideshow = slideshow;
  }

  /** `{muted, volume, shuffled, repeated, captioned}`, as far as they were ever set. */
  get settings() {
    return read(SETTINGS);
  }

  set(name, value) {
    write(SETTINGS, { ...read(SETTINGS), [name]: value });
  }

  /** The index of the item that was shown last, 0 for a slideshow not begun. */
  get place() {
    const place = read(PLACES)[this.slideshow];
    return Number.isInteger(place) && place > 0 ? place : 0;
  }

  keep(index) {
    const { [this.slideshow]: old, ...others } = read(PLACES);
    const recent = Object.entries(others).slice(1 - MOST);
    write(PLACES, { ...Object.fromEntries(recent), [this.slideshow]: index });
  }

  forget() {
    const { [this.slideshow]: old, ...others } = read(PLACES);
    write(PLACES, others);
  }
}
