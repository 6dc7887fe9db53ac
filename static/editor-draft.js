// What was not saved yet, kept by the browser until it is.

const PAUSE = 300; // ms after the last change

export class Draft {
  /** @param {string} key of localStorage; auth.js forgets what begins with "joip-" */
  constructor(key) {
    this.key = `joip-${key}`;
    this.timer = 0;
  }

  /** What was kept, null where there is nothing that can be read. */
  read() {
    try {
      return JSON.parse(localStorage.getItem(this.key));
    } catch {
      return null;
    }
  }

  /** Keep what `make` gives, once the typing pauses. */
  write(make) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keep(make()), PAUSE);
  }

  keep(value) {
    clearTimeout(this.timer);
    try {
      localStorage.setItem(this.key, JSON.stringify(value));
    } catch {
      // no room, or not allowed: leaving the page asks first anyway
    }
  }

  clear() {
    clearTimeout(this.timer);
    localStorage.removeItem(this.key);
  }
}
