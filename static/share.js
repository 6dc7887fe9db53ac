// Links: make, copy, hand to the phone's share sheet, pause, resume.

const { api } = document.documentElement.dataset;
const { busy, call, clear, tell, tellForm } = await import(api);

const announce = document.getElementById("announce");
const panel = () => document.getElementById("share");

/** The panel as the server draws it now; what is being edited stays as it is. */
async function refresh(said) {
  const html = await (await fetch(location.href)).text();
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("share");
  if (!fresh) return location.reload();
  panel().replaceWith(fresh);
  offerShareSheet();
  fresh.querySelector("[data-copy]")?.focus();
  announce.textContent = said;
}

function offerShareSheet() {
  if (!navigator.share) return;
  for (const button of document.querySelectorAll("[data-hand-on]")) button.hidden = false;
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  source.select();
  try {
    await navigator.clipboard.writeText(source.value);
  } catch {
    document.execCommand("copy"); // no clipboard API without https
  }
  const label = button.textContent;
  button.textContent = "Copied";
  announce.textContent = "Copied.";
  setTimeout(() => (button.textContent = label), 2000);
}

/** What each button of the panel does, and what is said when it is done. */
const actions = {
  share: (path) => call("POST", `${path}/share`),
  pause: (path) => call("PATCH", path, { isPublic: false }),
  resume: (path) => call("PATCH", path, { isPublic: true }),
};
const done = {
  share: "The link is made.",
  pause: "The links are paused.",
  resume: "The links work again.",
};

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  const { copy: copied, handOn, act } = button.dataset;
  if (copied && button.textContent !== "Copied") copy(button);
  if (handOn) navigator.share({ title: document.title, url: handOn }).catch(() => {});
  if (!act) return;
  busy(button, async () => {
    try {
      await actions[act](panel().dataset.path);
      await refresh(done[act]);
    } catch (error) {
      tell(panel().querySelector(".problem"), error);
    }
  });
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.id !== "personal") return;
  event.preventDefault();
  busy(form.querySelector("button"), async () => {
    clear(form);
    try {
      const userId = form.elements.userId.value.trim();
      await call("POST", `${panel().dataset.path}/share`, { userId });
      await refresh("The link for one person is made.");
    } catch (error) {
      if (error.status === 404 && error.message === "User not found") {
        error.details = [{ field: "userId", message: "Nobody has this account ID" }];
      }
      tellForm(form, error);
    }
  });
});

offerShareSheet();
