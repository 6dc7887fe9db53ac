// The JSON API, and how its refusals are told.
//
// No module imports another one by a plain name: that has no ?v=, and browsers keep static
// files for a year. A page names its modules by <link rel="modulepreload" data-part="…">,
// and its scripts import what they need by that link's address.

const { base } = document.documentElement.dataset;

/** A refusal: `status` (0: no answer at all), `code`, `details`, `retryAfter` in seconds;
 * `current`: what stands there instead, where an edit is refused. */
export class ApiError extends Error {
  constructor(status, { message = "", code = "", details = [], retryAfter = 0, current } = {}) {
    super(message);
    Object.assign(this, { status, code, details, retryAfter, current });
  }
}

/**
 * Call the API.
 * @param {string} method
 * @param {string} path below the service's own, such as "/api/login"
 * @param {object} [body] sent as JSON
 * @param {object} [headers]
 * @returns {Promise<object|null>} the answer, null for 204
 * @throws {ApiError}
 */
export async function call(method, path, body, headers) {
  const json = body && {
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  };
  let response, answer;
  try {
    response = await fetch(base + path, { method, ...json });
    answer = response.status === 204 ? null : await response.json();
  } catch {
    throw new ApiError(response?.status ?? 0);
  }
  if (!response.ok) throw new ApiError(response.status, answer);
  return answer;
}

/** Delete what `path` names. That it is gone already is as good: by another tab, or by a first
 * try whose answer got lost. */
export async function forget(path) {
  try {
    await call("DELETE", path);
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

/**
 * A page of this service as the server draws it now.
 * @param {string} url
 * @returns {Promise<Document>}
 * @throws {ApiError} 401 where it sends to sign in, or is the one for who is signed out
 */
export async function page(url) {
  let response, html;
  try {
    response = await fetch(url);
    html = await response.text();
  } catch {
    throw new ApiError(0);
  }
  const drawn = new DOMParser().parseFromString(html, "text/html");
  if (response.redirected || drawn.querySelector(".top [data-carry]")) {
    throw new ApiError(401, { code: "UNAUTHORIZED" });
  }
  if (!response.ok) throw new ApiError(response.status);
  return drawn;
}

/** What a person is told of a refusal. The API says "session"; people say slideshow. */
export function explain({ status, code, message, retryAfter, limit = "Too many attempts." }) {
  if (status === 0) return "There is no connection to the service. Please try again.";
  if (status === 429) return `${limit} Please wait ${wait(retryAfter)} and try again.`;
  if (code === "UNAUTHORIZED") return "You are no longer signed in.";
  if (status === 503 && code !== "BUSY") {
    return "The service is briefly unavailable. Please try again in a moment.";
  }
  if (!message && status === 404) return "It is not there any more: it was deleted or revoked.";
  if (!message) return "Something went wrong on our side. Please try again.";
  return `${message.replace(/\b(s)ession/gi, "$1lideshow")}.`;
}

function wait(seconds) {
  const [count, unit] = seconds <= 90 ? [seconds, "second"] : [Math.ceil(seconds / 60), "minute"];
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/** Have something read out by a screen reader. */
export function say(text) {
  document.getElementById("announce").textContent = text;
}

/**
 * Show a refusal in `place`, with a way to sign in where that is what is missing.
 * @param {HTMLElement} place
 * @param {ApiError} error
 */
export function tell(place, error) {
  place.replaceChildren(explain(error));
  place.hidden = false;
  if (error.code === "UNAUTHORIZED") {
    const link = document.createElement("a");
    link.href = `${base}/login?next=${encodeURIComponent(location.pathname)}`;
    link.target = "_blank";
    link.textContent = "Sign in (in a new tab), then come back here";
    place.append(" ", link);
  }
}

/**
 * Show a refusal of a form: each detail at the field to blame, the rest in `.problem`.
 * @param {HTMLFormElement} form
 * @param {ApiError} error
 * @param {(field: string) => HTMLElement | undefined} [find] the input of a field
 */
export function tellForm(form, error, find = (field) => form.elements[field]) {
  const blamed = error.details.filter(({ field, message }) => {
    const input = find(field);
    if (input) blame(input, inWords(message, form));
    return input;
  });
  if (blamed.length < error.details.length || !blamed.length) {
    tell(form.querySelector(".problem"), error);
  }
  form.querySelector("[aria-invalid]")?.focus();
}

/** A message with the fields' labels in place of their names in the API. */
function inWords(message, form) {
  return message.replace(/interval\w+/, (name) => {
    const [label] = form.elements[name]?.labels ?? [];
    return label ? `“${label.textContent}”` : name;
  });
}

let blames = 0; // each has an id of its own, also where one of another form is gone

/** Say at an input what is wrong with it; what else is to be said there may follow. */
export function blame(input, message, ...more) {
  const note = document.createElement("span");
  note.className = "blame";
  note.id = `blame-${(blames += 1)}`;
  note.append(message.charAt(0).toUpperCase() + message.slice(1), ...more);
  input.after(note);
  input.setAttribute("aria-invalid", "true");
  input.dataset.describedby = input.getAttribute("aria-describedby") ?? "";
  input.setAttribute("aria-describedby", `${note.id} ${input.dataset.describedby}`.trim());
}

/** Take back what `tellForm`, `blame` or the server have shown in a form. */
export function clear(form) {
  form.querySelector(".problem").hidden = true;
  for (const note of form.querySelectorAll(".blame")) note.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.setAttribute("aria-describedby", input.dataset.describedby);
  }
}

/** A key by its name, a letter by its small Latin one: also with Caps Lock, and, by its place,
 * on a keyboard of another script; "" where a browser fills in a form. */
export function keyOf({ key = "", code = "" }) {
  if (key.length > 1) return key;
  return (key <= "~" ? key : code.replace(/^Key/, "")).toLowerCase();
}

/** Let those controls below `root` be used that had to wait for a script of this name. */
export function ready(name, root = document) {
  for (const control of root.querySelectorAll(`[data-waits=${name}]`)) control.disabled = false;
}

/** The same task, but begun only once what was asked of it before is done: of two savings at
 * the same time the second one would take the first for somebody else's. */
export function inTurn(task) {
  let last = Promise.resolve();
  return () => (last = last.then(task, task));
}

/** Run a task once at a time for a button; it keeps its focus meanwhile. */
export async function busy(button, task) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await task();
  } finally {
    button.removeAttribute("aria-busy");
  }
}
