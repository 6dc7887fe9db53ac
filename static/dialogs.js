// Questions that are asked before something that cannot be undone.

/** Close a dialog, however it was opened. */
export const close = (dialog) => (dialog.close ? dialog.close() : dialog.removeAttribute("open"));

/** Show a dialog; iOS before 15.4 knows none and shows a box that lies over the page. */
export function open(dialog) {
  if (dialog.showModal) return dialog.showModal();
  dialog.setAttribute("open", "");
  dialog.classList.add("afloat");
  return dialog.querySelector("[autofocus], input, button").focus();
}

/**
 * Ask by a <dialog> with buttons [data-keep] and [data-do]. It stays open, and tells,
 * while `task` fails; while that is under way, it cannot be taken back.
 * @param {{busy: Function, tell: Function}} api
 * @param {HTMLDialogElement} dialog
 * @param {() => Promise<void>} task what is asked about
 * @param {string} [title] what it would happen to
 * @returns {Promise<boolean>} whether it was done
 */
export function ask(api, dialog, task, title) {
  const problem = dialog.querySelector(".problem");
  problem.hidden = true;
  if (title !== undefined) dialog.querySelector("[data-title]").textContent = title;
  return new Promise((resolve) => {
    const end = (done) => {
      resolve(done);
      close(dialog);
    };
    const working = () => dialog.getAttribute("aria-busy") === "true";
    dialog.querySelector("[data-keep]").onclick = () => working() || end(false);
    dialog.oncancel = (event) => working() && event.preventDefault(); // by Escape
    dialog.onclose = () => working() || resolve(false); // what was resolved stays
    const act = (event) => {
      event.preventDefault(); // where it is a form's
      api.busy(dialog, async () => {
        try {
          await task();
          end(true);
        } catch (error) {
          api.tell(problem, error);
          if (!dialog.hasAttribute("open")) resolve(false); // some browsers close it anyway
        }
      });
    };
    const form = dialog.querySelector("form");
    form?.reset();
    if (form) form.onsubmit = act;
    else dialog.querySelector("[data-do]").onclick = act;
    open(dialog);
  });
}

/**
 * Ask whether a slideshow is to be deleted, with a copy of it at hand, and delete it.
 * @returns {Promise<boolean>} whether it was
 */
export function askToDelete(api, { id, title }) {
  const dialog = document.getElementById("delete");
  const copy = dialog.querySelector("[data-copy-of]");
  copy.href = copy.href.replace(/\d*$/, id);
  copy.download = `slideshow-${id}.json`;
  return ask(api, dialog, () => api.forget(`/api/sessions/${id}`), title);
}
