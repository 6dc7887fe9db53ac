// What one does with a link: copy it, hand it to the phone's share sheet.

let api; // the module, once it has come

/**
 * Put a text into the clipboard.
 * @returns {Promise<boolean>} whether that could be done
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // there is none without https, or it was not allowed
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  source.select();
  const done = (await copyText(source.value)) || document.execCommand("copy");
  const label = (button.dataset.label ??= button.textContent);
  button.textContent = done ? "Copied" : "Not copied";
  api.say(done ? "Copied." : "It could not be copied. It is selected: copy it by hand.");
  setTimeout(() => (button.textContent = label), 2000);
}

/** Show the buttons of the share sheet below `root`, where there is one. */
export function offerShareSheet(root) {
  if (!navigator.share) return;
  for (const button of root.querySelectorAll("[data-hand-on]")) button.hidden = false;
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button"); // a browser that translates puts its own tags in it
  const { copy: copied, handOn } = button?.dataset ?? {};
  if (copied) copy(button);
  if (handOn) navigator.share({ title: document.title, url: handOn }).catch(() => {});
});

async function main() {
  offerShareSheet(document);
  api = await import(document.querySelector("[data-part=api]").href);
  api.ready("links");
}

main();
