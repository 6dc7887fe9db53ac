// The account page: name, email, password, tokens, the end of it all.

const { base } = document.documentElement.dataset;
const part = (name) => import(document.querySelector(`[data-part=${name}]`).href);
let api, dialogs; // the modules, once they have come

const DONE = {
  name: "Your name is changed. It shows on all your links.",
  email: "Your email is changed. Sign in with it from now on.",
  password: "Your password is changed. Everywhere else you are signed out.",
};

/** The filled-in fields of a form; `username` is there for password managers only. */
function read(form) {
  const { username, ...given } = Object.fromEntries(new FormData(form));
  return given;
}

/** A wrong password is told at its field. */
function refuse(form, error) {
  if (error.code === "WRONG_PASSWORD") {
    error.details = [{ field: "currentPassword", message: api.explain(error) }];
  } else if (error.code === "EMAIL_TAKEN") {
    error.details = [{ field: "email", message: api.explain(error) }];
  }
  api.tellForm(form, error);
}

/** Say at a form that it is done. */
function done(form, text) {
  const note = document.createElement("p");
  note.className = "done";
  note.setAttribute("role", "status");
  form.append(note);
  note.textContent = text; // after it is there, so that it is read out
}

async function submit(form, act) {
  api.clear(form);
  form.querySelector(".done")?.remove();
  try {
    await act(form);
  } catch (error) {
    refuse(form, error);
  }
}

/** Show name and email wherever the page has them; a telephone has a single letter. */
function showWho({ name, email }) {
  const shown = name || email;
  const texts = {
    "[data-shown=name], .who bdi": shown,
    "[data-shown=email]": email,
    ".face": String.fromCodePoint(shown.codePointAt(0)).toUpperCase(),
  };
  for (const [selector, text] of Object.entries(texts)) {
    for (const node of document.querySelectorAll(selector)) node.textContent = text;
  }
  document.querySelector(".who").title = `Your account: ${email}`;
}

async function change(form) {
  const user = await api.call("PATCH", "/api/auth/user", read(form));
  for (const field of form.querySelectorAll("[type=password]")) field.value = "";
  for (const field of document.querySelectorAll("[name=username]")) field.value = user.email;
  showWho(user);
  done(form, DONE[form.dataset.change]);
}

async function makeToken(form) {
  const { id, name, token } = await api.call("POST", "/api/tokens", read(form));
  const row = document.getElementById("token-row").content.firstElementChild.cloneNode(true);
  row.dataset.id = id;
  row.querySelector(".name").textContent = name;
  row.querySelector("button").setAttribute("aria-label", `Delete the token ${name}`);
  document.getElementById("tokens").append(row);
  document.getElementById("token").value = token;
  const secret = document.getElementById("secret");
  secret.hidden = false;
  secret.querySelector("button").focus();
  form.reset();
  api.say("The token is made. Copy it now, it is shown this once.");
}

async function deleteToken(row) {
  const forget = () => api.forget(`/api/tokens/${row.dataset.id}`);
  const name = row.querySelector(".name").textContent;
  const dialog = document.getElementById("delete-token");
  if (!(await dialogs.ask(api, dialog, forget, name))) return;
  const next = row.nextElementSibling ?? row.previousElementSibling;
  (next?.querySelector("button") ?? document.getElementById("token-name")).focus();
  row.remove();
  api.say("The token is deleted."); // not read out while a dialog lies over the page
}

async function deleteAccount() {
  const form = document.getElementById("delete-form");
  const end = () => api.call("DELETE", "/api/auth/user", read(form));
  const gone = await dialogs.ask(api, document.getElementById("delete"), end);
  if (!gone) return;
  document.dispatchEvent(new Event("account-ended"));
  location.replace(`${base}/`);
}

async function main() {
  [api, dialogs] = await Promise.all(["api", "dialogs"].map(part));
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const act = form.dataset.change ? change : form.id === "new-token" ? makeToken : null;
    if (!act) return;
    event.preventDefault();
    api.busy(event.submitter ?? form, () => submit(form, act));
  });
  document.getElementById("tokens").addEventListener("click", ({ target }) => {
    if (target.closest("[data-delete]")) deleteToken(target.closest("li"));
  });
  document.getElementById("ask-delete").addEventListener("click", deleteAccount);
  api.ready("account");
}

main();
