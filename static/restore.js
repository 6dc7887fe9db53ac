// A new slideshow from a copy: the file that "Download a copy" gave, as it is.

const { base } = document.documentElement.dataset;
const problem = document.getElementById("copy-problem");
const input = document.getElementById("copy");

/** What is wrong with a file that is no copy, in words. */
class NoCopy extends Error {}

async function read(file) {
  try {
    return JSON.parse(await file.text());
  } catch {
    throw new NoCopy("This file is no copy of a slideshow: it is not JSON.");
  }
}

async function restore(api, file) {
  problem.hidden = true;
  try {
    const { id } = await api.call("POST", "/api/sessions", await read(file));
    document.dispatchEvent(new CustomEvent("leave")); // nothing here is to be kept
    location.replace(`${base}/sessions/${id}`);
  } catch (error) {
    if (!(error instanceof NoCopy)) return api.tell(problem, error);
    problem.textContent = error.message;
    problem.hidden = false;
  }
  input.value = "";
  return null;
}

async function main() {
  const api = await import(document.querySelector("[data-part=api]").href);
  input.addEventListener("change", () => input.files[0] && restore(api, input.files[0]));
}

main();
