// The live page: it fetches the shipped network, and takes another one that a visitor brings.

import { BadFile, readNetwork, runNetwork } from "./network.js";
import { isPacked, readPacked } from "./packed.js";
import { makeView } from "./view.js";

const SHIPPED =
  "The shipped network is at work. It refuses what no pen can have drawn, and what is very strange; most letters pass.";
const $ = (id) => document.getElementById(id);

// A network from a file, once it has shown that it answers: single numbers may look right and give none together.
function networkIn(buffer) {
  const network = (isPacked(buffer) ? readPacked : readNetwork)(buffer);
  for (const grey of [0, 128, 255])
    if (!runNetwork(network, new Uint8Array(28 * 28).fill(grey)).logits.every(Number.isFinite))
      throw new BadFile("This file gives no finite answer: it may be damaged.");
  return network;
}

async function start() {
  const [weights, facts] = await Promise.all([fetch("default.safetensors"), fetch("reader.json")]);
  if (!weights.ok || !facts.ok) throw new Error(`the server answers ${weights.status} and ${facts.status}`);
  const shipped = readNetwork(await weights.arrayBuffer());
  const reader = await facts.json();
  $("view").replaceChildren();
  $("view").removeAttribute("role"); // it was an alert, had nothing come
  const view = makeView($("view"), shipped, reader);

  function use(network, itsReader, words) {
    view.use(network, itsReader);
    $("which").textContent = words;
    $("back").hidden = network === shipped;
  }
  async function take(file) {
    try {
      use(
        networkIn(await file.arrayBuffer()),
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
  $("back").addEventListener("click", () => {
    use(shipped, reader, SHIPPED);
    $("file").value = "";
    $("file").focus(); // the button that had it is gone
  });
  document.addEventListener("drop", ({ dataTransfer }) => {
    if (!dataTransfer.files[0]) return;
    $("file").value = ""; // it would go on naming an earlier one
    take(dataTransfer.files[0]);
  });
  $("file").disabled = false;
  $("which").textContent = SHIPPED;
}

// a file that is dropped before the network is there must not replace the page
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
start().catch((error) => {
  $("view").textContent =
    "The network cannot be loaded. Reload the page; if that does not help, this browser may be too old.";
  console.error(error);
});
