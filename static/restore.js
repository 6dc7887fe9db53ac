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
  const leaving = new CustomEvent("leave", { cancelable: true });
  try {
    const copy = await read(file);
    if (!document.dispatchEvent(leaving)) return; // there is something unsaved
    const { id } = await api.call("POST", "/api/sessions", copy);
    document.dispatchEvent(new Event("left"));
    location.replace(`${base}/sessions/${id}`);
  } catch (error) {
    if (error instanceof NoCopy) problem.textContent = error.message;
    else api.tell(problem, error);
    problem.hidden = false;
  } finally {
    input.value = ""; // so that the same file can be chosen again
  }
}

async function main() {
  const api = await import(document.querySelector("[data-part=api]").href);
  const take = () => input.files[0] && restore(api, input.files[0]);
  input.addEventListener("change", take);
  take(); // what was chosen before this script was here
}

main();
