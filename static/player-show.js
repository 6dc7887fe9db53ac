// The show: what is on, for how long, and what comes next. It knows nothing of buttons: it
// tells what happens by events, and the other parts do what these say.
//
//   move      the place has changed; what belongs there may still have to be loaded
//   wait      {waiting}: there is nothing to see yet, or not any more
//   present   {item, index, element}: an item is on the stage
//   time      the video that is on has gone on
//   pause     it was paused, or goes on
//   skip      {item, late}: an item is left out, being late or else broken
//   end       the last item was shown, and it does not repeat
//   halt      {error}: it cannot go on; an ApiError, EMPTY, BROKEN, or status 0: no network

const PATIENCE = 60_000; // ms that a medium may take until it is skipped

export const EMPTY = new Error("There is nothing in this slideshow.");
export const BROKEN = new Error("Nothing in this slideshow can be loaded.");
const LATE = new Error("This item takes too long.");
const OFFLINE = Object.assign(new Error("There is no network."), { status: 0 });

/** The same promise, but rejected with LATE after `ms`. */
function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(reject, ms, LATE)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Show extends EventTarget {
  /** @param {{media, order, stage, repeated: boolean, makeTime: Function}} given
   *   `makeTime(item, element, on)` makes a Clock or a Film */
  constructor(given) {
    super();
    Object.assign(this, given);
    this.position = 0; // in the order: where one wants to be
    this.step = 1; // the direction one goes
    this.turn = 0; // every move is a new turn; what an older one waits for is dropped
    this.paused = false;
    this.stopped = false; // ended or halted
    this.shown = null; // {item, index, element} on the stage
    this.time = null; // its Clock or Film, while it runs
  }

  get index() {
    return this.order.indexAt(this.position);
  }

  get playing() {
    return !this.paused && !this.stopped;
  }

  /** Go to a position; what cannot be shown there is left out in direction `step`. */
  async go(position, step = 1) {
    const turn = ++this.turn;
    const mine = () => turn === this.turn;
    this.#clear();
    Object.assign(this, { position, step, stopped: false });
    this.#tell("move");
    try {
      await this.#find(mine);
    } catch (error) {
      if (mine()) this.#stop("halt", { error });
    }
    if (mine()) this.#wait(false);
  }

  next = () => this.#move(1);
  previous = () => this.#move(-1);
  skip = () => this.#move(this.step);

  /** Go to the item at this index. */
  jump = (index) => this.go(this.order.placeOf(index));

  /** From the start, after the end. */
  again() {
    this.media.broken.clear();
    this.order.again(this.index);
    this.go(0);
    this.pause(false);
  }

  /** Where it could not go on: once more, and what was broken gets another chance. */
  retry() {
    this.media.broken.clear();
    this.go(this.position);
  }

  pause(paused) {
    if (this.stopped) return;
    this.paused = paused;
    if (paused) this.time?.pause();
    else this.time?.play();
    this.#tell("pause");
  }

  /** Go on where the browser has stopped a video that was out of sight. */
  resume() {
    if (this.playing) this.time?.play();
  }

  /** Go to a moment of the video that is on. */
  seek(seconds) {
    if (this.shown?.item.type === "video") this.shown.element.currentTime = seconds;
  }

  shuffle(shuffled) {
    const { index } = this;
    this.order.shuffled = shuffled;
    this.order.arrange(index);
    this.position = this.order.placeOf(index);
    this.#tell("move");
    this.#prepareNext();
  }

  repeat(repeated) {
    this.repeated = repeated;
    this.#prepareNext();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #wait(waiting) {
    this.#tell("wait", { waiting });
  }

  /** End the time of what is on. */
  #clear() {
    this.time?.end();
    this.time = null;
  }

  /** Nothing is played any more, and `why` is told. */
  #stop(why, detail) {
    this.turn += 1;
    this.#clear();
    this.stopped = true;
    this.#wait(false);
    this.#tell(why, detail);
  }

  /** One on, or one back. From the end, back leads to the last item. */
  #move(step) {
    const position = this.stopped ? this.position : this.#after(step);
    if (this.stopped && step > 0) return;
    if (position === null) this.#stop("end");
    else this.go(position, step);
  }

  /** The position that follows in a direction; null after the last where it ends there. */
  #after(step) {
    const { total } = this.order;
    const position = this.position + step;
    if (position < total) return (position + total) % total;
    if (!this.repeated) return null;
    if (total > 1) this.order.again(this.index);
    return 0;
  }

  /** Show the item at the position, or the first one after it that can be shown. */
  async #find(mine) {
    for (;;) {
      const { index } = this;
      this.#wait(true);
      const item = await this.media.item(index ?? 0);
      if (!mine()) return;
      if (!this.#follow(index)) continue;
      const element = await this.#ready(index, item, mine);
      if (!mine()) return;
      if (element) return this.#present(index, item, element);
      if (this.#isHopeless) throw BROKEN;
      const position = this.#after(this.step);
      if (position === null) return this.#stop("end");
      this.position = position;
      this.#tell("move");
    }
  }

  /** Whether the item at `index` still exists. Its owner may have edited meanwhile. */
  #follow(index) {
    const { total } = this.media;
    if (total === 0) throw EMPTY;
    if (total === this.order.total) return true;
    this.media.broken.clear();
    this.order.resize(total, index);
    this.position = this.order.placeOf(index);
    return index < total;
  }

  /** The element of an item, once it can be seen; null, and told, if it never can. */
  async #ready(index, item, mine) {
    if (this.media.broken.has(index)) return null;
    this.media.keepOnly(index);
    try {
      return await within(PATIENCE, this.media.load(index, item));
    } catch (error) {
      if (mine()) this.#leaveOut(index, item, error === LATE);
      return null;
    }
  }

  /** Go on without an item; not where the network is gone, for then so are all others. */
  #leaveOut(index, item, late) {
    this.media.drop(index);
    if (!navigator.onLine) return this.#stop("halt", { error: OFFLINE });
    if (!late) this.media.broken.add(index);
    return this.#tell("skip", { item, late });
  }

  get #isHopeless() {
    return this.media.broken.size >= this.order.total;
  }

  #present(index, item, element) {
    this.media.take(index);
    this.stage.put(element, this.step);
    this.shown = { item, index, element };
    this.time = this.makeTime(item, element, this.#events(item, index));
    this.#tell("present", this.shown);
    if (this.paused) this.time.pause();
    else this.time.play();
    this.#prepareNext();
  }

  /** What becomes of what is on. */
  #events(item, index) {
    const leave = (late) => {
      this.#leaveOut(index, item, late);
      if (this.stopped) return;
      if (this.#isHopeless) this.#stop("halt", { error: BROKEN });
      else this.skip();
    };
    return {
      done: this.next,
      broken: () => leave(false),
      late: () => leave(true),
      paused: () => this.pause(true),
      waiting: (waiting) => this.#wait(waiting),
      moved: () => this.#tell("time"),
    };
  }

  /** Load what comes next, where that is known. */
  #prepareNext() {
    const next = this.order.indexAt(this.position + 1);
    if (next !== undefined) this.media.prepare(next);
    else if (this.repeated && !this.order.shuffled) this.media.prepare(0);
  }
}
