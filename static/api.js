// The JSON API, and how its refusals are told. The other modules load this one by the
// address in <html data-api>: a plain import has no ?v=, and browsers keep it for a year.

const { base } = document.documentElement.dataset;

/** A refusal: `status` (0: no answer at all), `details`, `retryAfter` in seconds. */
export class ApiError extends Error {
  constructor(status, { message = "", details = [], retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, details, retryAfter });
  }
}

/**
 * Call the API.
 * @param {string} method
 * @param {string} path below the service's own, such as "/api/login"
 * @param {object} [body] sent as JSON
 * @returns {Promise<object|null>} the answer, null for 204
 * @throws {ApiError}
 */
export async function call(method, path, body) {
  const json = body && {
    headers: { "Content-Type": "application/json" },
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

/** What a person is told of a refusal. */
export function explain({ status, message, retryAfter, limit = "Too many attempts." }) {
  if (status === 0) return "There is no connection to the service. Please try again.";
  if (status === 429) return `${limit} Please wait ${wait(retryAfter)} and try again.`;
  if (status === 401 && message === "Unauthorized") return "You are no longer signed in.";
  if (status === 503) return "The service is briefly unavailable. Please try again in a moment.";
  return message ? `${message}.` : "Something went wrong on our side. Please try again.";
}

function wait(seconds) {
  if (seconds <= 90) return `${seconds} ${seconds === 1 ? "second" : "seconds"}`;
  return `${Math.ceil(seconds / 60)} minutes (${seconds} seconds)`;
}

/**
 * Show a refusal in `place`, with a way to sign in where that is what is missing.
 * @param {HTMLElement} place
 * @param {ApiError} error
 */
export function tell(place, error) {
  place.replaceChildren(explain(error));
  place.hidden = false;
  if (error.status === 401 && error.message === "Unauthorized") {
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

/** Say at an input what is wrong with it. */
export function blame(input, message) {
  const note = document.createElement("span");
  note.className = "blame";
  note.id = `blame-${document.querySelectorAll(".blame").length}`;
  note.textContent = message.charAt(0).toUpperCase() + message.slice(1);
  input.after(note);
  input.setAttribute("aria-invalid", "true");
  input.dataset.describedby = input.getAttribute("aria-describedby") ?? "";
  input.setAttribute("aria-describedby", `${note.id} ${input.dataset.describedby}`.trim());
}

/** Take back what `tellForm` and `blame` have shown in a form. */
export function clear(form) {
  form.querySelector(".problem").hidden = true;
  for (const note of form.querySelectorAll(".blame")) note.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.setAttribute("aria-describedby", input.dataset.describedby);
  }
}

/** Run a task once at a time for a button; it keeps its focus meanwhile. */
export async function busy(button, task) {
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  try {
    await task();
  } finally {
    button.ariaBusy = null;
  }
}
