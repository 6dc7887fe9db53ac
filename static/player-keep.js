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
  /** @param {string} code the share code of the slideshow that is played */
  constructor(code) {
    this.code = code;
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
    const place = read(PLACES)[this.code];
    return Number.isInteger(place) && place > 0 ? place : 0;
  }

  keep(index) {
    const { [this.code]: old, ...others } = read(PLACES);
    const recent = Object.entries(others).slice(1 - MOST);
    write(PLACES, { ...Object.fromEntries(recent), [this.code]: index });
  }

  forget() {
    const { [this.code]: old, ...others } = read(PLACES);
    write(PLACES, others);
  }
}
