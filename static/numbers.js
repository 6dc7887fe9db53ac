// The numbers: another stretch of days without leaving the page, and a bar's own figure on
// hover, touch and arrow keys.

const part = (name) => import(document.querySelector(`[data-part=${name}]`).href);
let api, dates; // the modules, once they have come

const bars = (chart) => [...chart.querySelectorAll("rect")];
const output = (chart) => chart.parentElement.querySelector("output");

/** Tell one bar's figure below its chart. */
function point(chart, index) {
  const all = bars(chart);
  const bar = all[Math.max(0, Math.min(all.length - 1, index))];
  for (const other of all) other.classList.toggle("pointed", other === bar);
  const { value, from, to } = bar.dataset;
  const span = to ? `${dates.inWords(from)} – ${dates.inWords(to)}` : dates.inWords(from);
  output(chart).textContent = `${span}: ${Number(value).toLocaleString()}`;
}

function unpoint(chart) {
  for (const bar of bars(chart)) bar.classList.remove("pointed");
  output(chart).textContent = output(chart).dataset.usual;
}

function follow({ target, clientX }) {
  const chart = target.closest(".bars svg");
  if (!chart) return;
  const { left, width } = chart.getBoundingClientRect();
  point(chart, Math.floor(((clientX - left) / width) * bars(chart).length));
}

/** A finger that is lifted leaves the figure to be read. */
function leave({ target, pointerType }) {
  const chart = pointerType === "touch" ? null : target.closest(".bars svg");
  if (chart) unpoint(chart);
}

function step(event) {
  const chart = event.target.closest(".bars svg");
  if (!chart) return;
  const all = bars(chart);
  const at = all.findIndex((bar) => bar.classList.contains("pointed"));
  const next = { ArrowLeft: (at < 0 ? all.length : at) - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 };
  if (!(event.key in next)) return;
  event.preventDefault();
  point(chart, next[event.key]);
  api.say(output(chart).textContent);
}

let chosen; // the link that was chosen last; what comes late for another one is dropped

/** Other days: the section as the server draws it, while the editor stays as it is. */
async function change(link) {
  const numbers = document.getElementById("numbers");
  chosen = link;
  try {
    const fresh = (await api.page(link.href)).getElementById("numbers");
    if (chosen !== link) return;
    const { top } = numbers.querySelector(".range").getBoundingClientRect();
    numbers.replaceWith(fresh);
    dates.localize(fresh);
    const range = fresh.querySelector(".range");
    scrollBy(0, range.getBoundingClientRect().top - top); // it stays under the finger
    range.querySelector("[aria-current]").focus({ preventScroll: true });
    api.say(fresh.querySelector("#days-heading").textContent);
  } catch (error) {
    api.tell(numbers.querySelector(".problem"), error);
  }
}

function click(event) {
  const link = event.target.closest(".days a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  api.busy(link, () => change(link));
}

async function main() {
  [api, dates] = await Promise.all(["api", "dates"].map(part));
  document.addEventListener("click", click);
  document.addEventListener("keydown", step);
  for (const type of ["pointermove", "pointerdown"]) document.addEventListener(type, follow);
  document.addEventListener("pointerout", leave);
  document.addEventListener("focusout", leave);
}

main();
