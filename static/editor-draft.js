// What was not saved yet, kept by the browser until it is.

const PAUSE = 300; // ms after the last change

export class Draft {
  /** @param {string} key of localStorage; auth.js forgets what begins with "joip-" */
  constructor(key) {
    Object.assign(this, { key: `joip-${key}`, value: null, timer: 0 });
    addEventListener("pagehide", () => this.value && this.keep()); // phones end a tab so
  }

  /** What was kept, null where there is nothing that can be read. */
  read() {
    try {
      return JSON.parse(localStorage.getItem(this.key));
    } catch {
      return null;
    }
  }

  /** Ask whether what was kept is to come back; until then nothing takes its place.
   * @param {{isNews: Function, when: Function, restore: Function, changed: Function}} given
   */
  offer(banner, { isNews, when, restore, changed }) {
    const older = this.read();
    if (!older || !isNews(older)) return;
    banner.querySelector("time").textContent = when(older);
    banner.hidden = false;
    this.asked = banner;
    banner.addEventListener("click", ({ target }) => {
      const { act } = target.closest("button")?.dataset ?? {};
      if (!act) return;
      banner.hidden = true;
      if (act === "restore") restore(older);
      changed();
    });
  }

  /** Keep a value, once the typing pauses. */
  write(value) {
    if (this.asked?.hidden === false) return;
    clearTimeout(this.timer);
    this.value = value;
    this.timer = setTimeout(() => this.keep(), PAUSE);
  }

  keep() {
    clearTimeout(this.timer);
    try {
      localStorage.setItem(this.key, JSON.stringify(this.value));
    } catch {
      // no room, or not allowed: leaving the page asks first anyway
    }
    this.value = null;
  }

  clear() {
    if (this.asked?.hidden === false) return;
    clearTimeout(this.timer);
    this.value = null;
    try {
      localStorage.removeItem(this.key);
    } catch {
      // not allowed: then nothing was kept either
    }
  }
}
