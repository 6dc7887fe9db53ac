// Adding media: what is pasted, dropped or typed becomes cards; what is none stays.

const LIMIT = 500;
const FILES = "Files are not uploaded here: give the address of a picture on the web.";
const NONE = "What is left here is no http or https address.";
const FULL = `A slideshow holds ${LIMIT} items; what did not fit is left here.`;

/** The field to paste into; `given` = {api, paste, cards}, the modules and the cards. */
export class Adding {
  constructor(form, given) {
    Object.assign(this, { form, field: form.elements.paste, ...given });
    document.getElementById("add").addEventListener("click", () => this.add());
    this.field.addEventListener("paste", (event) => this.take(event, event.clipboardData));
    this.acceptDrops(document.getElementById("items"));
  }

  /** What is still there and was not added. */
  get text() {
    return this.field.value.trim();
  }

  set text(text) {
    this.field.value = text;
  }

  get waits() {
    return this.text !== "";
  }

  /** Make cards of a text; whether nothing of it is left. */
  add(text = this.field.value) {
    const { api, cards, field } = this;
    api.clear(this.form);
    const { items, left } = this.paste.itemsIn(text);
    const fitting = items.slice(0, Math.max(0, LIMIT - cards.nodes.length));
    const others = items.slice(fitting.length).map(({ mediaUrl }) => mediaUrl);
    field.value = [...others, ...left].join("\n");
    cards.add(fitting);
    if (fitting.length) api.say(`${fitting.length} added, ${cards.nodes.length} in all.`);
    if (this.waits) this.refuse(others.length ? FULL : NONE);
    return !this.waits;
  }

  refuse(why) {
    this.api.blame(this.field, why);
    this.field.focus();
  }

  /** Take what is pasted or dropped; pasted words without an address are just typed. */
  take(event, data) {
    const text = this.paste.textOf(data);
    const typed = event.type === "paste" && text !== null;
    if (typed && !this.paste.itemsIn(text).items.length) return;
    event.preventDefault();
    if (text === null) this.refuse(FILES);
    else this.add([this.field.value, text].filter(Boolean).join("\n"));
  }

  acceptDrops(place) {
    const over = (event) => {
      event.preventDefault();
      place.classList.toggle("over", event.type === "dragover");
    };
    for (const type of ["dragover", "dragleave", "drop"]) place.addEventListener(type, over);
    place.addEventListener("drop", (event) => this.take(event, event.dataTransfer));
  }
}
