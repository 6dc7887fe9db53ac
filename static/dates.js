// Days and times as the reader's own language writes them.

const DAY = { day: "numeric", month: "short", year: "numeric" };
const SHORT = { day: "numeric", month: "short" };
const MOMENT = { ...DAY, hour: "numeric", minute: "2-digit" };

/**
 * A day ("2026-11-24", of UTC) or a moment ("2026-11-24T15:04:05Z") in words.
 * @param {string} time
 * @param {object} [format] of Intl.DateTimeFormat
 */
export function inWords(time, format = DAY) {
  const zone = time.length === 10 ? { timeZone: "UTC" } : {};
  return new Intl.DateTimeFormat(undefined, { ...format, ...zone }).format(new Date(time));
}

/** A moment with its hour and minute. */
export const moment = (time) => inWords(time, MOMENT);

/** Rewrite every <time> below `root`. */
export function localize(root) {
  for (const node of root.querySelectorAll("time[datetime]")) {
    node.textContent = inWords(node.dateTime, "short" in node.dataset ? SHORT : DAY);
  }
}

localize(document);
