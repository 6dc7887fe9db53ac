// The links of a slideshow: make, pause, resume, replace, revoke, and their QR codes.

const panelOf = (root) => root.getElementById("share");

/** What is told when it is done. */
const DONE = {
  share: "The link is made.",
  pause: "The links are paused.",
  resume: "The links work again.",
  replace: "The link is replaced.",
  revoke: "The link is revoked.",
};

/** The share panel of the page; `given` = the modules it uses, and the editor's `save` and
 * `keepUp`. What is on the screen is saved before it is shared. */
export function panel(given) {
  return new Panel(given);
}

class Panel {
  constructor(given) {
    Object.assign(this, given);
    document.addEventListener("click", (event) => this.click(event));
    document.addEventListener("submit", (event) => this.submit(event));
  }

  get node() {
    return panelOf(document);
  }

  get path() {
    return this.node.dataset.path;
  }

  /** The one button beside Save: the link for everyone, made if need be. */
  async share() {
    if ("shared" in this.node.dataset) this.show(this.node.querySelector("[data-copy=link]"));
    else await this.act("share");
  }

  show(button) {
    this.node.scrollIntoView();
    (button ?? this.node.querySelector("h2")).focus();
  }

  /** Do one thing with the links, and draw the panel anew. */
  async act(name) {
    this.node.querySelector(".problem").hidden = true;
    try {
      if (name !== "pause" && !(await this.save())) return;
      await this.perform(name);
      await this.redraw(DONE[name]);
    } catch (error) {
      this.api.tell(this.node.querySelector(".problem"), error);
    }
  }

  perform(name) {
    if (name === "share") return this.make({});
    return this.api.call("PATCH", this.path, { isPublic: name === "resume" });
  }

  make(audience) {
    return this.api.call("POST", `${this.path}/share`, audience);
  }

  /** The panel as the server draws it now; what is being edited or typed stays as it is. */
  async redraw(said, code) {
    const fresh = await this.api.page(location.href);
    const { session, media } = fresh.getElementById("editor").dataset;
    this.keepUp(JSON.parse(session), JSON.parse(media));
    const node = panelOf(fresh);
    for (const { id, value } of this.node.querySelectorAll("form input")) {
      node.querySelector(`#${id}`).value = value;
    }
    this.node.replaceWith(node);
    this.dates.localize(node);
    this.clipboard.offerShareSheet(node);
    for (const script of ["editor", "links"]) this.api.ready(script, node);
    document.getElementById("share-it").textContent = "Share";
    document.getElementById("editor").classList.remove("created");
    const link = code ? node.querySelector(`[data-code="${code}"]`) : node;
    this.show(link?.querySelector("[data-copy]"));
    this.api.say(said);
  }

  // ---------------------------------------------------------------- buttons and forms

  click({ target }) {
    const button = target.closest("#share button");
    if (!button) return;
    const { act, ask } = button.dataset;
    if (act) this.api.busy(button, () => this.act(act));
    if (ask) this.ask(ask, button.closest(".link"));
    if ("qr" in button.dataset) this.showCode(button.closest(".link"));
  }

  /** Show a link's QR code, or hide it again; it is drawn when it is first shown. */
  showCode(link) {
    const figure = link.querySelector(".qr");
    figure.hidden = !figure.hidden;
    if (figure.hidden) return;
    if (!figure.firstChild) figure.append(this.drawn(figure));
    figure.focus();
  }

  drawn(figure) {
    const image = new Image();
    image.alt = ""; // the figure has a name
    image.onerror = async () => {
      image.remove();
      figure.hidden = true;
      const { page, ApiError, tell } = this.api;
      const why = await page(image.src).then(() => new ApiError(0), (error) => error);
      tell(this.node.querySelector(".problem"), why); // an image cannot tell itself
    };
    image.src = figure.dataset.src;
    return image;
  }

  async ask(name, { dataset: { code, audience, name: title } }) {
    let fresh = { shareCode: "" };
    const paused = this.node.querySelector("[data-act=resume]") !== null;
    const task = async () => {
      await this.api.forget(`${this.path}/shares/${code}`);
      if (name !== "replace") return;
      fresh = await this.make(JSON.parse(audience));
      if (paused) await this.perform("pause"); // to make one resumes all
    };
    const dialog = document.getElementById(name);
    if (!(await this.dialogs.ask(this.api, dialog, task, title))) return;
    await this.redraw(DONE[name], fresh.shareCode).catch(() => location.reload());
  }

  submit(event) {
    const form = event.target;
    const { audience } = form.dataset;
    if (!audience || !form.closest("#share")) return;
    event.preventDefault();
    this.api.busy(form.querySelector("button"), () => this.makeFor(form, audience));
  }

  async makeFor(form, audience) {
    this.api.clear(form);
    try {
      if (!(await this.save())) return;
      const link = await this.make({ [audience]: form.elements[audience].value.trim() });
      form.reset(); // what was typed elsewhere is for another link
      await this.redraw(DONE.share, link.shareCode);
    } catch (error) {
      if (error.code === "USER_NOT_FOUND") {
        error.details = [{ field: audience, message: "Nobody has this account ID" }];
      }
      this.api.tellForm(form, error);
    }
  }
}
