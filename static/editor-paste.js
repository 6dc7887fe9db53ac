// What people paste or drop, as items: lines, commas, blanks, HTML, Markdown, no scheme.

const VIDEO = /\.(?:mp4|m4v|mov|webm|ogv|mkv)$/i;
const IMAGE = /\.(?:jpe?g|jfif|png|gif|webp|avif|svg|bmp|tiff?|heic)$/i;
const START = "(?:https?:)?\\/\\/|www\\.|(?:[\\p{L}\\p{N}-]+\\.)+\\p{L}{2,}(?::\\d+)?\\/";
const STARTS = new RegExp(`^(?:${START})`, "iu");
const GLUED = new RegExp(`[,;|](?=["'<]?(?:${START}))`, "iu");
const TARGET = "<?((?:[^\\s()<>]|\\([^\\s()]*\\))+)>?(?:\\s[^)]*)?";
const LINKED_IMAGE = new RegExp(`\\[!\\[([^\\]]*)\\]\\(${TARGET}\\)\\]\\(${TARGET}\\)`, "g");
const LINK = new RegExp(`!?\\[([^\\]]*)\\]\\(${TARGET}\\)`, "g");
const ELEMENT = /<(?:img|video|source|a)\s/i;
const CAPTION = 500; // characters that one may have

/** As much of a text as a caption may have; no emoji is cut in two. */
const fitting = (text) => [...text].slice(0, CAPTION).join("");

/** An address as browsers write it; "" for what is none of the web. */
export function webAddress(text) {
  const full = text.startsWith("//") ? `https:${text}` : text;
  try {
    const schemeless = STARTS.test(full) && !/^https?:/i.test(full);
    const { protocol, href } = new URL(schemeless ? `https://${full}` : full);
    return /^https?:$/.test(protocol) ? href : "";
  } catch {
    return "";
  }
}

const pathOf = (address) => new URL(address).pathname;
const isMedium = (address) => IMAGE.test(pathOf(address)) || VIDEO.test(pathOf(address));

/** Whether what cannot be shown is a web page rather than a lost picture. */
export function looksLikePage(address) {
  if (!webAddress(address)) return false; // it is emptied, or not typed to its end
  const file = pathOf(address).split("/").pop();
  return /\.(?:[sx]?html?|php|aspx?|jsp)$/i.test(file) || !file.includes(".");
}

/** The item that shows an address; null for what is none. */
function item(text, caption = "") {
  const mediaUrl = webAddress(text);
  if (!mediaUrl) return null;
  const type = VIDEO.test(pathOf(mediaUrl)) ? "video" : "image";
  return { mediaUrl, type, caption: fitting(caption.trim()) || null, thumbnail: null };
}

/**
 * The items of a text, and the lines that are none.
 * @param {string} text
 * @returns {{items: object[], left: string[]}}
 */
export function itemsIn(text) {
  if (ELEMENT.test(text)) {
    const items = fromHtml(text);
    if (items.length) return { items, left: [] };
  }
  const items = [];
  const left = [];
  for (const line of text.split(/[\r\n]+/).map((each) => each.trim()).filter(Boolean)) {
    const found = fromMarkdown(line) ?? fromLine(line);
    if (found.length) items.push(...found);
    else left.push(line);
  }
  return { items, left };
}

/** Pictures and videos of a piece of HTML; links only where they lead to some. */
function fromHtml(html) {
  const { body } = new DOMParser().parseFromString(html, "text/html"); // loads nothing
  const items = [];
  for (const node of body.querySelectorAll("img, video, a")) {
    const address = addressOf(node);
    const found = address && item(address, node.getAttribute("alt") ?? "");
    if (found && (node.localName !== "a" || isMedium(found.mediaUrl))) items.push(found);
  }
  return items;
}

function addressOf(node) {
  if (node.localName === "img") return node.getAttribute("src");
  if (node.localName === "video" && !node.hasAttribute("src")) {
    return node.querySelector("source")?.getAttribute("src");
  }
  if (node.localName === "video") return node.getAttribute("src");
  return node.querySelector("img, video") ? "" : node.getAttribute("href");
}

/** Links and images of a line of Markdown; null where there are none. */
function fromMarkdown(line) {
  const items = [];
  const take = (found) => {
    if (found) items.push(found);
    return " ";
  };
  line.replace(LINKED_IMAGE, (_, text, thumbnail, full) => {
    const large = webAddress(full);
    return take(item(large && isMedium(large) ? full : thumbnail, text));
  }).replace(LINK, (_, text, address) => take(item(address, text)));
  return items.length ? items : null;
}

/** The addresses of a plain line; words beside the only one are its caption. */
function fromLine(line) {
  const words = line.replace(/\[\/?(?:img|url|video)\]/gi, " ").trim().split(/\s+/);
  if (hasBlanks(line, bare(words[0]))) return [item(line)];
  const items = [];
  const others = [];
  for (const word of words.flatMap((each) => each.split(GLUED))) {
    const found = STARTS.test(bare(word)) && item(bare(word));
    if (found) items.push(found);
    else others.push(word);
  }
  if (items.length === 1) items[0].caption = captionFrom(others);
  return items;
}

/** Whether a line is a single address with blanks in it: it ends in a file, but its first
 * word does not. */
function hasBlanks(line, first) {
  const [whole, start] = [webAddress(line), webAddress(first)];
  return whole && start && isMedium(whole) && !isMedium(start) && !/\s\S*\/\//.test(line);
}

/** A word without the punctuation around it; a bracket that it opened itself stays. */
function bare(word) {
  const inner = word.replace(/^["'“”‘’«<([{]+/, "").replace(/["'“”‘’»>\]},;.!]+$/, "");
  const unopened = inner.split(")").length > inner.split("(").length;
  return unopened ? inner.replace(/\)$/, "") : inner;
}

/** Words as a caption, without bullets, numbers and what joins them to the address. */
function captionFrom(words) {
  const text = words.join(" ").replace(/^(?:[-*•–]|\d+[.)])(?:\s|$)/, "");
  return fitting(text.replace(/^[\s,;:|–-]+|[\s,;:|–-]+$/g, "")) || null;
}

/**
 * What a clipboard or a drop holds, as text for `itemsIn`; null where it holds files.
 * @param {DataTransfer} data
 */
export function textOf(data) {
  const html = data.getData("text/html");
  if (/<(?:img|video)\s/i.test(html)) return html;
  const listed = data.getData("text/uri-list").split(/[\r\n]+/);
  const text = listed.filter((line) => !line.startsWith("#")).join("\n").trim();
  return text || data.getData("text/plain") || (data.files.length ? null : "");
}
