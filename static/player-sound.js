// Sound: mute and volume, kept for the next visit, and what a browser allows of it.

export class Sound {
  /** @param {{part: Function, memory, bless: Function}} given `bless` is for iOS, see Media */
  constructor({ part, memory, bless }) {
    const { muted, volume } = memory.settings;
    Object.assign(this, { memory, bless, video: null, muted: muted === true });
    this.volume = volume > 0 && volume <= 1 ? volume : 1;
    this.refused = false; // whether the browser lets nothing be heard until it is asked to
    this.button = part("sound");
    this.slider = part("volume");
    this.button.onclick = () => this.toggle();
    this.slider.oninput = () => this.#turn(Number(this.slider.value) / 100);
    this.#apply();
  }

  /** Play a video, without sound where it may not start aloud.
   * @returns {Promise<boolean>} false if the browser lets it not start at all */
  async play(video) {
    this.video = video;
    this.#apply();
    try {
      await video.play();
      return true;
    } catch (error) {
      if (error.name !== "NotAllowedError") return true; // another item is on, or it is broken
      if (video.muted) return false;
    }
    this.refused = true;
    return this.play(video);
  }

  toggle() {
    this.muted = !this.#silent;
    this.memory.set("muted", this.muted);
    this.#heard();
  }

  get #silent() {
    return this.muted || this.refused;
  }

  #turn(volume) {
    this.muted = volume === 0;
    if (volume) this.volume = volume;
    this.memory.set("muted", this.muted);
    this.memory.set("volume", this.volume);
    this.#heard();
  }

  /** A hand was on a control, so the browser lets itself be heard from now on. */
  #heard() {
    this.refused = false;
    this.bless();
    this.#apply();
  }

  #apply() {
    const silent = this.#silent;
    if (this.video) Object.assign(this.video, { muted: silent, volume: this.volume });
    this.button.classList.toggle("silent", silent);
    this.button.classList.toggle("refused", this.refused);
    this.button.setAttribute("aria-label", silent ? "Unmute" : "Mute");
    this.slider.value = silent ? 0 : this.volume * 100;
    this.slider.style.setProperty("--done", this.slider.value / 100);
    this.slider.setAttribute("aria-valuetext", `${this.slider.value} %`);
  }
}
