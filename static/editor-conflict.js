// Two tabs edited one slideshow: both versions side by side, and what is to become of them.

const LABELS = {
  title: "Title", description: "Description", intervalMin: "Seconds at least",
  intervalMax: "Seconds at most", transition: "Transition", thumbnail: "Cover", media: "Media",
};
const SHOWN = 6; // pictures of each version

const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

/** What the API answers of a slideshow but its pictures, as the editor's fields read it. */
export const words = ({ title, description, intervalMin, intervalMax, transition }) => ({
  title: title.trim(),
  description: description.replace(/\r\n?/g, "\n").trim(),
  intervalMin, intervalMax, transition,
});

/** The writable members of what the API answers, as the editor reads them. */
export const writable = ({ session, media }) => ({
  ...words(session),
  thumbnail: session.thumbnail,
  media: media.map(writableItem),
});

function writableItem({ mediaUrl, type, caption, thumbnail, captions }) {
  const own = type === "video" && captions;
  caption = caption?.trim() || null;
  return { mediaUrl, type, caption, thumbnail: thumbnail || null, ...(own && { captions }) };
}

/** The members in which two versions differ. */
export const difference = (one, other) =>
  Object.keys(LABELS).filter((name) => !same(one[name], other[name]));

/** The other version, with what was changed here since `seen`. */
export function merge(seen, mine, theirs) {
  const changed = difference(seen, mine).map((name) => [name, mine[name]]);
  return { ...theirs, ...Object.fromEntries(changed) };
}

function cell(name, value) {
  const td = document.createElement("td");
  td.dir = "auto";
  if (name === "media") td.append(items(value));
  else if (name === "thumbnail" && value) td.append(strip([value]), value.split("/").pop());
  else td.textContent = value || "none";
  return td;
}

function items(media) {
  const count = `${media.length} ${media.length === 1 ? "item" : "items"}`;
  const shown = media.filter(({ type, thumbnail }) => type === "image" || thumbnail);
  const addresses = shown.map(({ mediaUrl, thumbnail }) => thumbnail ?? mediaUrl);
  return strip(addresses.slice(0, SHOWN), count);
}

function strip(addresses, ...words) {
  const node = document.createElement("div");
  node.className = "strip";
  node.append(...words, ...addresses.map(picture));
  return node;
}

function picture(address) {
  const image = new Image();
  image.alt = "";
  image.referrerPolicy = "no-referrer";
  image.onerror = () => image.remove();
  image.src = address;
  return image;
}

function row(name, mine, theirs) {
  const tr = document.createElement("tr");
  const th = document.createElement("th");
  th.scope = "row";
  th.textContent = LABELS[name];
  tr.append(th, cell(name, mine[name]), cell(name, theirs[name]));
  return tr;
}

/**
 * Show both versions.
 * @param {{open: Function, close: Function}} dialogs
 * @returns {Promise<"mine"|"theirs"|"">} "" to go back
 */
export function choose(dialogs, mine, theirs, when) {
  const dialog = document.getElementById("conflict");
  dialog.querySelector("time").textContent = when;
  const rows = difference(mine, theirs).map((name) => row(name, mine, theirs));
  dialog.querySelector("tbody").replaceChildren(...rows);
  return new Promise((resolve) => {
    const end = (choice) => () => {
      resolve(choice);
      dialogs.close(dialog);
    };
    dialog.querySelector("[data-mine]").onclick = end("mine");
    dialog.querySelector("[data-theirs]").onclick = end("theirs");
    dialog.querySelector("[data-keep]").onclick = end("");
    dialog.onclose = end("");
    dialogs.open(dialog);
  });
}
