// The live page: it fetches the shipped network, and takes another one that a visitor brings.

import { BadFile, readNetwork } from "./network.js";
import { isPacked, readPacked } from "./packed.js";
import { makeView } from "./view.js";

const SHIPPED =
  "The shipped network is at work. It refuses what no pen can have drawn, and what is very strange; most letters pass.";
const $ = (id) => document.getElementById(id);

async function start() {
  const [weights, facts] = await Promise.all([fetch("default.safetensors"), fetch("reader.json")]);
  if (!weights.ok || !facts.ok) throw new Error(`the server answers ${weights.status} and ${facts.status}`);
  const shipped = readNetwork(await weights.arrayBuffer());
  const reader = await facts.json();
  $("view").replaceChildren();
  const view = makeView($("view"), shipped, reader);

  function use(network, itsReader, words) {
    view.use(network, itsReader);
    $("which").textContent = words;
    $("back").hidden = network === shipped;
  }
  async function take(file) {
    try {
      const buffer = await file.arrayBuffer();
      use(
        (isPacked(buffer) ? readPacked : readNetwork)(buffer),
        null,
        `${file.name} is at work. The page shows its plain probabilities, and never refuses.`,
      );
    } catch (error) {
      $("which").textContent =
        error instanceof BadFile ? `${file.name}: ${error.message}` : `${file.name} cannot be read.`;
    }
  }
  $("file").addEventListener("click", ({ target }) => (target.value = "")); // so that the same file can follow itself
  $("file").addEventListener("change", ({ target }) => target.files[0] && take(target.files[0]));
  $("back").addEventListener("click", () => use(shipped, reader, SHIPPED));
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  document.addEventListener("drop", ({ dataTransfer }) => dataTransfer.files[0] && take(dataTransfer.files[0]));
  $("which").textContent = SHIPPED;
}

start().catch((error) => {
  $("view").textContent =
    "The network cannot be loaded. Reload the page; if that does not help, this browser may be too old.";
  console.error(error);
});
