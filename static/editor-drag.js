// Dragging a list's items by their grips. By pointer events, since HTML's own drag and drop
// knows no touch; without capture, which a node loses when it is moved.

const EDGE = 80; // px at the window's edges where holding an item scrolls
const SPEED = 1; // px per millisecond, at most

class Drag {
  /** @param {(node: HTMLElement) => void} moved told when an item has a new place */
  constructor(node, { clientX, clientY }, moved) {
    Object.assign(this, { node, moved, x: clientX, y: clientY });
    this.list = node.parentElement;
    this.before = node.nextElementSibling;
    this.listening = new AbortController();
    const { signal } = this.listening;
    addEventListener("pointermove", (event) => this.follow(event), { signal });
    addEventListener("pointerup", () => this.end(), { signal });
    addEventListener("pointercancel", () => this.cancel(), { signal });
    addEventListener("keydown", ({ key }) => key === "Escape" && this.cancel(), { signal });
    node.classList.add("dragged");
    this.tick = this.tick.bind(this);
    this.last = performance.now();
    this.frame = requestAnimationFrame(this.tick);
  }

  follow({ clientX, clientY }) {
    this.x = clientX;
    this.y = clientY;
    this.place();
  }

  /** Put the item where the pointer is. */
  place() {
    const over = document.elementFromPoint(this.x, this.y)?.closest("li");
    if (!over || over === this.node || over.parentElement !== this.list) return;
    const { top, height } = over.getBoundingClientRect();
    if (this.y < top + height / 2) over.before(this.node);
    else over.after(this.node);
  }

  /** Scroll for as long as the item is held at an edge, the faster the nearer to it. */
  tick(now) {
    const bar = document.querySelector(".save").offsetHeight;
    const up = EDGE - this.y;
    const down = this.y - (innerHeight - bar - EDGE);
    const by = up > 0 ? -up : Math.max(down, 0);
    if (by) {
      const speed = Math.max(-SPEED, Math.min(SPEED, by / 64));
      const passed = Math.max(0, Math.min(now - this.last, 200));
      scrollBy(0, speed * passed); // as quick on every screen
      this.place();
    }
    this.last = now;
    this.frame = requestAnimationFrame(this.tick);
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.listening.abort();
    this.node.classList.remove("dragged");
  }

  end() {
    this.stop();
    if (this.node.nextElementSibling !== this.before) this.moved(this.node);
  }

  cancel() {
    this.stop();
    this.list.insertBefore(this.node, this.before);
  }
}

/** Let a list's items be dragged by their `.grip`. */
export function sortable(list, moved) {
  list.addEventListener("pointerdown", (event) => {
    const grip = event.target.closest(".grip");
    if (!grip || event.button !== 0) return;
    event.preventDefault();
    new Drag(grip.closest("li"), event, moved); // lives until the pointer is up
  });
}
