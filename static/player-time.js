// How long an item stays: an image for its time, a video to its end. Both are played, paused
// and ended the same way; what happens to them they tell `on`.

const STALLED = 15_000; // ms without progress after which a video is given up
const PATIENCE = 60_000; // ms that it may go on loading without playing

export class Clock {
  /** An image's time is the animation of a bar, so that pausing is exact.
   * @param {{bar: HTMLElement, seconds: number, on: {done: Function}}} given */
  constructor({ bar, seconds, on }) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.animation = bar.animate(
      [{ transform: "scaleX(0)" }, { transform: "none" }],
      { duration: seconds * 1000, fill: "both", easing: still ? "steps(20)" : "linear" });
    this.animation.onfinish = on.done;
  }

  play() {
    this.animation.play();
  }

  pause() {
    this.animation.pause();
  }

  end() {
    this.animation.onfinish = null;
    this.animation.cancel();
  }
}

const HEARD = ["ended", "error", "waiting", "playing", "pause", "progress", "timeupdate"];

export class Film {
  /** @param {{video: HTMLVideoElement, sound, on}} given `on` has `done`, `broken`, `late`,
   *   `paused` (by the browser), `waiting(boolean)` and `moved` */
  constructor({ video, sound, on }) {
    Object.assign(this, { video, sound, on, playing: false, at: 0, since: 0 });
    video.onended = on.done;
    video.onerror = on.broken;
    video.onwaiting = () => on.waiting(true);
    video.onplaying = () => on.waiting(false);
    video.onpause = () => this.#paused();
    video.onprogress = () => performance.now() - this.since < PATIENCE && this.#watch();
    video.ontimeupdate = () => this.#moved();
  }

  async play() {
    this.playing = true;
    this.since = performance.now();
    this.#watch();
    const started = await this.sound.play(this.video);
    if (!started && this.playing) this.on.paused();
  }

  pause() {
    this.playing = false;
    clearTimeout(this.stall);
    this.video.pause();
    this.on.waiting(false);
  }

  end() {
    for (const event of HEARD) this.video[`on${event}`] = null;
    this.pause();
  }

  /** Count down anew until the video is given up; while nobody looks, it may rest. */
  #watch() {
    clearTimeout(this.stall);
    if (!this.playing) return;
    this.stall = setTimeout(() => (document.hidden ? this.#watch() : this.on.late()), STALLED);
  }

  #moved() {
    const { currentTime } = this.video;
    if (currentTime === this.at) return;
    this.at = currentTime;
    this.since = performance.now();
    this.#watch();
    this.on.moved();
  }

  /** Not by our own button: by a headphone pulled out, or another program's sound. */
  #paused() {
    if (this.playing && !this.video.ended && !document.hidden) this.on.paused();
  }
}
