// The page: a drawing goes in, and all that the network makes of it is shown.

import { centerDigit } from "./digit.js";
import { explainDigit, explainFeature, explainPixel } from "./explain.js";
import { makeLayers, rove } from "./maps.js";
import { BadFile, readNetwork, runNetwork } from "./network.js";
import { add, makePad, picture } from "./pad.js";
import { read } from "./reading.js";
import { strokesOf } from "./strokes.js";

const SIDE = 140, PEN = 14; // of the pad, pixels, as in Python
const $ = (id) => document.getElementById(id);

let network, reader; // at work; a dropped network has no reader
let shipped; // both, as they ship
let run = null, reading = null; // of the last drawing
let layers, opened = { layer: 1, channel: 0, place: null, input: 0 };

function sentence() {
  if (!run) return "Nothing is drawn yet.";
  const order = [...reading.probabilities.keys()].sort((a, b) => reading.probabilities[b] - reading.probabilities[a]);
  const [first, second] = order.map((digit) => `${digit} (${Math.round(100 * reading.probabilities[digit])}%)`);
  if (reading.digit === null) return `Refuses: this ${reading.remark}. If it is one, it is ${first}.`;
  return reading.probabilities[order[0]] > 0.9 ? `Reads ${first}.` : `Reads ${first}, or else ${second}.`;
}

function brightest(maps, layer, channel) { // the place of a map's largest pixel
  const size = layer.side ** 2, own = maps.subarray(channel * size, (channel + 1) * size);
  const at = own.indexOf(Math.max(...own));
  return [Math.floor(at / layer.side), at % layer.side];
}

// Open a map, a feature or a digit; afterwards the part that `focus` names has the focus again.
function open(next, focus) {
  opened = next;
  const detail = $("detail");
  layers.press(next.layer, next.channel);
  if (!run) return detail.replaceChildren(Object.assign(document.createElement("p"), { textContent: "Draw something, and open a map." }));
  if (next.digit !== undefined) explainDigit(detail, network, run, reading.probabilities, next.digit);
  else if (next.layer === run.layers.length) explainFeature(detail, network, run, next.channel);
  else {
    opened.place ??= brightest(run.layers[next.layer].maps, run.layers[next.layer], next.channel);
    explainPixel(detail, network, run, opened, open);
  }
  if (focus) detail.querySelector(focus)?.focus({ preventScroll: true });
}

function makeBars() {
  const body = $("bars").tBodies[0];
  return [...Array(10).keys()].map((digit) => {
    const row = add(body, "tr");
    const button = add(add(row, "th", { scope: "row" }), "button", { type: "button", "aria-label": `${digit}: how its score is computed` }, digit);
    button.addEventListener("click", () => open({ digit }));
    return { row, bar: add(add(row, "td"), "div"), percent: add(row, "td") };
  });
}

let rows, pad;

function update() {
  const seen = centerDigit(pad.pixels(), SIDE);
  run = seen && runNetwork(network, seen);
  reading = run && read(run, reader);
  $("seen").getContext("2d").putImageData(picture(seen ?? [], 28), 0, 0);
  rows.forEach(({ row, bar, percent }, digit) => {
    const share = reading?.probabilities[digit] ?? 0;
    row.className = reading && share === Math.max(...reading.probabilities) ? "first" : "";
    bar.style.width = `${100 * share}%`;
    percent.textContent = `${Math.round(100 * share)}%`;
  });
  if (run) layers.paint(run);
  else layers.paint(runNothing());
  $("reading").textContent = sentence();
  if (!pad.isDown()) open({ ...opened });
}

function runNothing() { // what an empty pad shows: black
  return { layers: network.blocks.map((_, i) => ({ maps: new Float32Array([8, 16, 16, 16, 16, 32][i] * (sideBehind(i + 1)) ** 2) })), features: new Float32Array(32) };
}

const sideBehind = (block) => (block <= network.poolAfter ? 14 : 7);

function lifted() {
  $("status").textContent = sentence();
  if (run) open({ ...opened });
}

// Another network: its maps may have other sides.
function use(other, otherReader, words) {
  [network, reader] = [other, otherReader];
  const shapes = network.blocks.map(({ name }, i) => ({ name, channels: [8, 16, 16, 16, 16, 32][i], side: sideBehind(i + 1) }));
  $("layers").replaceChildren();
  layers = makeLayers($("layers"), shapes, 32, (layer, channel) => open({ layer, channel, place: null, input: 0 }));
  $("which").textContent = words;
  $("back").hidden = network === shipped.network;
}

async function take(file) {
  try {
    use(readNetwork(await file.arrayBuffer()), null, `${file.name} is at work. The page shows its plain probabilities, and never refuses.`);
    update();
  } catch (error) {
    $("which").textContent = error instanceof BadFile ? `${file.name}: ${error.message}` : `${file.name} cannot be read.`;
  }
}

function listen() {
  $("file").addEventListener("change", ({ target }) => target.files[0] && take(target.files[0]));
  $("back").addEventListener("click", () => {
    use(shipped.network, shipped.reader, "The shipped network is at work. It refuses what does not look like a digit.");
    update();
  });
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  document.addEventListener("drop", ({ dataTransfer }) => dataTransfer.files[0] && take(dataTransfer.files[0]));
  for (let digit = 0; digit < 10; digit++)
    add($("examples"), "button", { type: "button", "aria-label": `Draw a ${digit}` }, digit).addEventListener("click", () => pad.show(strokesOf(digit)));
  rove($("examples"));
}

async function start() {
  const [weights, facts] = await Promise.all([fetch("default.safetensors"), fetch("reader.json")]);
  shipped = { network: readNetwork(await weights.arrayBuffer()), reader: await facts.json() };
  rows = makeBars();
  use(shipped.network, shipped.reader, $("which").textContent);
  pad = makePad($("pad"), { side: SIDE, pen: PEN, changed: update, lifted });
  listen();
  pad.show(strokesOf(3));
}

start().catch((error) => {
  $("reading").textContent = $("status").textContent = "The network cannot be loaded: open this page from a web server, such as python -m http.server.";
  console.error(error);
});
