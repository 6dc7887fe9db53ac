// What happens once a page is shown: a cover that does not come gives way to the drawing
// behind it, and a preview tells the service, once, that somebody has seen it.

const COVER = ".picture > img";

document.addEventListener("error", ({ target }) => {
  if (target.matches(COVER)) target.remove();
}, true);

// What failed before this module was here fails once more.
for (const image of document.querySelectorAll(COVER)) {
  if (image.complete && !image.naturalWidth) image.setAttribute("src", image.getAttribute("src"));
}

const { seen, token } = document.body.dataset;

function tell() {
  if (document.visibilityState !== "visible" || document.prerendering) return;
  document.removeEventListener("visibilitychange", tell);
  document.removeEventListener("prerenderingchange", tell);
  fetch(seen, {
    method: "POST",
    keepalive: true, // also where the reader goes on at once
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  }).catch(() => {}); // nobody misses it but the numbers
}

if (seen) {
  document.addEventListener("visibilitychange", tell);
  document.addEventListener("prerenderingchange", tell);
  tell();
}
