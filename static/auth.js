// Sign in, create an account, sign out. The forms work without this module, too: it adds
// that a refusal loses nothing that was typed, and that Back leads out.

const { base } = document.documentElement.dataset;
const EMAIL = "joip-email"; // what was typed on the other of the two pages
const NO_COOKIES = "This browser keeps no cookies of this site, so that nobody stays signed in. "
  + "Please allow them, or open this page in another browser";
let api; // the module, once it has come

/** The browser's storage of that name; none where it is forbidden. */
function storage(name) {
  try {
    return window[name];
  } catch {
    return null;
  }
}

/** Whether cookies are kept here; `navigator.cookieEnabled` does not know of every setting. */
function keepsCookies() {
  document.cookie = "joip-try=1; SameSite=Lax";
  const kept = document.cookie.includes("joip-try=1");
  document.cookie = "joip-try=; SameSite=Lax; Max-Age=0";
  return kept;
}

/** Create an account or sign in: the fields, but the empty ones, are sent. */
async function enter(form) {
  api.clear(form);
  const given = [...new FormData(form)].filter(([name, value]) => value && name !== "next");
  try {
    if (!keepsCookies()) throw new api.ApiError(401, { message: NO_COOKIES });
    await api.call("POST", form.dataset.path, Object.fromEntries(given));
    location.replace(form.elements.next.value); // what is behind is not this page
    await new Promise(() => {}); // busy until the page goes: one account, not two
  } catch (error) {
    refuse(form, error);
  }
}

function refuse(form, error) {
  error.limit = form.dataset.limit;
  if (error.code !== "EMAIL_TAKEN") return api.tellForm(form, error);
  const link = form.parentElement.querySelector("[data-carry]").cloneNode(true);
  api.blame(form.elements.email, `${api.explain(error)} `, link);
  return form.elements.email.focus();
}

/** What was typed as email goes along to the other page, but not into an address. */
function carry() {
  const typed = document.querySelector("form[data-path]")?.elements.email.value;
  if (typed) storage("sessionStorage")?.setItem(EMAIL, typed);
}

function take(form) {
  const { email, password } = form.elements;
  const kept = storage("sessionStorage");
  const carried = kept?.getItem(EMAIL);
  kept?.removeItem(EMAIL);
  if (!carried || email.value) return;
  email.value = carried;
  password.focus();
}

/** What was not saved yet is not left to whoever comes next. */
function forget() {
  const kept = storage("localStorage");
  for (const key of Object.keys(kept ?? {})) {
    if (key.startsWith("joip-")) kept.removeItem(key);
  }
}

/** Sign out. */
async function leave(form) {
  const leaving = new CustomEvent("leave", { cancelable: true });
  if (!document.dispatchEvent(leaving)) return; // there is something unsaved
  const everywhere = form.dataset.signOut === "everywhere";
  try {
    await api.call("POST", "/api/logout", everywhere ? { everywhere } : undefined);
    document.dispatchEvent(new Event("left"));
    forget();
    location = `${base}/`;
  } catch (error) {
    api.tell(form.querySelector(".problem"), error);
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  const act = form.dataset.path ? enter : "signOut" in form.dataset ? leave : null;
  if (!act || !api) return; // not here yet: the browser sends it by itself
  event.preventDefault();
  api.busy(event.submitter ?? form, () => act(form));
});

document.addEventListener("account-ended", forget); // account.js tells

async function main() {
  const form = document.querySelector("form[data-path]");
  if (form) take(form);
  document.addEventListener("click", ({ target }) => target.closest("[data-carry]") && carry());
  api = await import(document.querySelector("[data-part=api]").href);
}

main();
