// A video's captions (WebVTT), drawn by the player itself, so that its controls never cover
// them and they are as legible as everything else here.

export function showCaptions({ part, show, memory }) {
  const line = part("subtitles");
  const button = part("captions");
  let on = memory.settings.captioned !== false;
  let track = null;

  /** The cues of this moment, as text; the browser has read their markup. */
  function draw() {
    const cues = on && track ? [...(track.activeCues ?? [])] : [];
    const texts = cues.flatMap((cue) => [cue.getCueAsHTML(), "\n"]);
    line.replaceChildren(...texts.slice(0, -1));
  }

  function follow({ detail: { element } }) {
    if (track) track.oncuechange = null;
    track = element.textTracks?.[0] ?? null;
    if (track) {
      track.mode = "hidden"; // read, but not drawn by the browser
      track.oncuechange = draw;
    }
    button.hidden = !track;
    draw();
  }

  function tell() {
    button.setAttribute("aria-pressed", on);
    draw();
  }

  button.onclick = () => {
    on = !on;
    memory.set("captioned", on);
    tell();
  };
  show.addEventListener("present", follow);
  tell();
}
