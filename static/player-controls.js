// The row of controls: what each does, and how each tells what the show does.

const clock = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/** How far a slider is, for the part of its track that is filled. */
function slide(slider, value, text) {
  const { min, max } = slider;
  slider.value = value;
  slider.style.setProperty("--done", (value - min) / (max - min || 1));
  slider.setAttribute("aria-valuetext", text);
}

/** The buttons that start, stop and change the order. */
export function drawTransport({ part, player, show, order, memory }) {
  function press(button, pressed) {
    part(button).setAttribute("aria-pressed", pressed);
  }

  function tellPause() {
    player.classList.toggle("paused", show.paused);
    part("pause").setAttribute("aria-label", show.paused ? "Play" : "Pause");
    // A caption is read out only at one's own pace.
    part("caption").setAttribute("aria-live", show.paused ? "polite" : "off");
  }

  part("pause").onclick = () => show.pause(!show.paused);
  part("next").onclick = show.next;
  part("previous").onclick = show.previous;
  part("shuffle").onclick = () => {
    show.shuffle(!order.shuffled);
    memory.set("shuffled", order.shuffled);
    press("shuffle", order.shuffled);
  };
  part("repeat").onclick = () => {
    show.repeat(!show.repeated);
    memory.set("repeated", show.repeated);
    press("repeat", show.repeated);
  };
  show.addEventListener("pause", tellPause);
  press("shuffle", order.shuffled);
  press("repeat", show.repeated);
}

/** Words that are too many for the screen can be scrolled, by keyboard as well. */
function write(place, text) {
  const { parentElement: box } = place;
  place.textContent = text;
  box.scrollTop = 0;
  box.removeAttribute("tabindex");
  if (box.scrollHeight > box.clientHeight) box.tabIndex = 0;
}

/** Where one is in the slideshow, and the bar to go elsewhere. */
export function drawPlace({ part, show, order, memory }) {
  const bar = part("overall");

  function tell(number) {
    const { total } = order;
    bar.max = Math.max(1, total);
    slide(bar, number, `${number} of ${total}`);
    part("place").textContent = `${number} / ${total}`;
  }

  function follow() {
    tell(show.position + 1);
  }

  function present({ detail: { item, index } }) {
    follow();
    write(part("caption"), item.caption ?? "");
    if (order.total > 1) memory.keep(index);
  }

  bar.oninput = () => tell(Number(bar.value));
  bar.onchange = () => show.go(Number(bar.value) - 1);
  show.addEventListener("move", follow);
  show.addEventListener("present", present);
  show.addEventListener("end", () => memory.forget());
}

/** A video's time, and the bar to seek in it; an image's bar only tells. */
export function drawTime({ part, show, stage }) {
  const bar = part("seek");
  let held = false; // by a finger, which then knows better where it is

  function tell({ currentTime, duration }) {
    slide(bar, currentTime, `${clock(currentTime)} of ${clock(duration)}`);
    part("time").style.transform = `scaleX(${currentTime / duration || 0})`;
    part("elapsed").textContent = clock(currentTime);
    part("duration").textContent = clock(duration);
  }

  function follow() {
    const { item, element } = show.shown;
    const seekable = item.type === "video" && Number.isFinite(element.duration);
    bar.closest(".time").classList.toggle("seekable", seekable);
    bar.hidden = !seekable;
    part("time").style.transform = "";
    if (!seekable) return;
    bar.max = element.duration;
    if (!held) tell(element);
  }

  bar.oninput = () => {
    held = true;
    show.seek(Number(bar.value));
    tell({ currentTime: Number(bar.value), duration: Number(bar.max) });
  };
  bar.onchange = () => (held = false);
  show.addEventListener("present", () => {
    held = false;
    follow();
  });
  show.addEventListener("time", () => {
    follow();
    stage.refresh();
  });
}

/** What is shown of sound and captions depends on what is on. */
export function drawVideoControls({ part, show }) {
  show.addEventListener("present", ({ detail: { item } }) => {
    part("sounds").hidden = item.type !== "video";
  });
}
