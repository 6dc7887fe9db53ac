// The stage: how a medium takes the place of the last one, and what fills the room around it.

const FILL = 32; // pixels: so few, drawn large, that a blur needs no more work

/** Draw a medium, small, to be blurred behind itself. */
function fill(canvas, medium) {
  const width = medium.videoWidth ?? medium.naturalWidth;
  const height = medium.videoHeight ?? medium.naturalHeight;
  if (!width || !height) return;
  canvas.width = FILL;
  canvas.height = Math.max(1, Math.round((FILL * height) / width));
  canvas.getContext("2d").drawImage(medium, 0, 0, canvas.width, canvas.height);
}

function slideOf(medium, step) {
  const slide = document.createElement("div");
  const canvas = document.createElement("canvas");
  slide.className = "slide";
  slide.dataset.step = step;
  slide.append(canvas, medium);
  fill(canvas, medium);
  return slide;
}

export class Stage {
  /** @param {{root: HTMLElement, release: Function}} given `release` gets what has left */
  constructor({ root, release }) {
    Object.assign(this, { root, release });
  }

  /** Put a loaded medium on the stage; the last one leaves by the chosen transition. */
  put(medium, step) {
    const slide = slideOf(medium, step);
    const leaving = this.root.querySelector(".slide:not(.leave)");
    for (const old of this.root.querySelectorAll(".leave")) this.#remove(old);
    if (leaving) {
      slide.classList.add("enter");
      this.#leave(leaving, step);
    }
    this.root.append(slide);
  }

  /** Fill the room around a video anew, as its picture changes. */
  refresh() {
    const slide = this.root.lastChild;
    if (slide) fill(slide.firstChild, slide.lastChild);
  }

  async #leave(slide, step) {
    slide.className = "slide leave";
    slide.dataset.step = step;
    await Promise.allSettled(slide.getAnimations().map(({ finished }) => finished));
    this.#remove(slide);
  }

  #remove(slide) {
    if (!slide.isConnected) return;
    slide.remove();
    this.release(slide.lastChild);
  }
}
