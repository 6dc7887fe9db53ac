// Sign in, create an account, sign out.

const { base, api } = document.documentElement.dataset;
const { busy, call, clear, tell, tellForm } = await import(api);

/** A form with data-next is one of an account: its fields, but the empty ones, are sent. */
const account = document.querySelector("form[data-next]");
account?.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.submitter ?? account, async () => {
    clear(account);
    const given = [...new FormData(account)].filter(([, value]) => value);
    try {
      await call("POST", account.dataset.path, Object.fromEntries(given));
      location = account.dataset.next;
    } catch (error) {
      error.limit = account.dataset.limit;
      tellForm(account, error);
    }
  });
});

for (const form of document.querySelectorAll("form[data-sign-out]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await call("POST", "/api/logout");
      location = `${base}/`;
    } catch (error) {
      tell(form.querySelector(".problem"), error);
    }
  });
}
