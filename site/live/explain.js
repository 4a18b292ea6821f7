// A pixel of a map, down to its sum: windows, weights, products, norm, ReLU and skip. A feature. A digit's score.

import { scaleAndShift } from "./network.js";
import { add } from "./pad.js";
import { paint, rove } from "./maps.js";

const show = (value) => (Math.abs(value) < 0.005 ? "0.00" : value.toFixed(2)).replace("-", "−");

// Nine numbers as a small table, coloured by sign.
function nine(parent, title, values, largest) {
  const table = add(parent, "table", { class: "nine" });
  add(table, "caption", {}, title);
  for (let row = 0; row < 3; row++) {
    const line = add(table, "tr");
    for (let column = 0; column < 3; column++) {
      const value = values[3 * row + column];
      const cell = add(line, "td", { class: value < 0 ? "minus" : "plus" }, show(value));
      cell.style.setProperty("--share", `${Math.round((55 * Math.abs(value)) / (largest || 1))}%`);
    }
  }
}

// A list of shares of a sum, each a bar to the left or to the right.
function bars(parent, entries, pressed, choose) {
  const largest = Math.max(...entries.map(({ value }) => Math.abs(value)), 1e-9);
  const group = add(parent, "div", { class: "shares", role: "group", "aria-label": "shares of the sum" });
  entries.forEach(({ name, value }, i) => {
    const line = choose ? add(group, "button", { type: "button", "aria-pressed": i === pressed }) : add(group, "div");
    add(line, "span", { class: "name" }, name);
    const bar = add(add(line, "span", { class: "bar" }), "span", { class: value < 0 ? "minus" : "plus" });
    bar.style.width = `${(50 * Math.abs(value)) / largest}%`;
    bar.style[value < 0 ? "right" : "left"] = "50%";
    add(line, "span", { class: "number" }, show(value));
    if (choose) line.addEventListener("click", () => choose(i));
  });
  if (choose) rove(group);
}

// The 3x3 inputs around a place, and the weights that meet them: of one input channel.
function windowOf(layer, weights, map, channel, row, column) {
  const side = Math.sqrt(layer.input.length / layer.channelsIn);
  const inputs = Array.from({ length: 9 }, (_, k) => {
    const r = row + Math.floor(k / 3) - 1, c = column + (k % 3) - 1;
    return r < 0 || c < 0 || r >= side || c >= side ? 0 : layer.input[(channel * side + r) * side + c];
  });
  const own = Array.from(weights.subarray((map * layer.channelsIn + channel) * 9, (map * layer.channelsIn + channel + 1) * 9));
  const products = inputs.map((value, k) => value * own[k]);
  return { inputs, own, products, sum: products.reduce((a, b) => a + b) };
}

// Where the sum lies that a pixel of a map came from: pooling takes the largest of four.
export function sourceOf(layer, map, row, column) {
  if (!layer.pools) return [row, column];
  const side = 2 * layer.side;
  const four = [0, 1, 2, 3].map((k) => [2 * row + (k >> 1), 2 * column + (k & 1)]);
  return four.reduce((best, place) => (layer.sums[(map * side + place[0]) * side + place[1]] > layer.sums[(map * side + best[0]) * side + best[1]] ? place : best));
}

// The computation of one pixel, in numbers.
export function pixelOf(layer, block, map, row, column) {
  const [sumRow, sumColumn] = sourceOf(layer, map, row, column);
  const windows = Array.from({ length: layer.channelsIn }, (_, c) => windowOf(layer, block.weights, map, c, sumRow, sumColumn));
  const at = (map * layer.side + row) * layer.side + column;
  const [scale, shift] = scaleAndShift(block.norm, map);
  return { windows, sum: windows.reduce((total, { sum }) => total + sum, 0), scale, shift, normed: layer.normed[at], skip: layer.skips ? layer.input[at] : null, value: layer.maps[at] };
}

function sentenceOf(layer, { windows, sum, scale, shift, normed, skip, value }) {
  const many = windows.length > 1 ? `${windows.length} windows of 3×3 numbers, times their weights, add up to ${show(sum)}` : `The window's nine products add up to ${show(sum)}`;
  const pooled = layer.pools ? ", the largest of four neighbours" : "";
  const relu = normed > 0 ? "ReLU keeps it" : "ReLU makes it 0";
  const skipped = skip === null ? "" : ` The skip adds ${show(skip)}, the input at the same place.`;
  return `${many}${pooled}. Batch norm: ${show(sum)} × ${show(scale)} + ${show(shift)} = ${show(normed)}. ${relu}.${skipped} The pixel is ${show(value)}.`;
}

// A map, enlarged, with one pixel chosen: by click, touch or arrow keys.
function enlarged(parent, layer, maps, map, place, choose) {
  const { side } = layer;
  const canvas = add(parent, "canvas", { class: "enlarged", tabindex: 0, role: "application", "aria-label": `${layer.name}, map ${map}, enlarged. The arrow keys choose a pixel.` });
  const own = maps.subarray(map * side * side, (map + 1) * side * side);
  paint(canvas, own, side, Math.max(...own));
  const frame = add(parent, "div", { class: "frame", "aria-hidden": "true" });
  Object.assign(frame.style, { width: `${100 / side}%`, height: `${100 / side}%`, left: `${(100 * place[1]) / side}%`, top: `${(100 * place[0]) / side}%` });
  canvas.addEventListener("pointerdown", (event) => {
    const box = canvas.getBoundingClientRect();
    choose([event.clientY - box.top, event.clientX - box.left].map((at) => Math.min(side - 1, Math.max(0, Math.floor((at / box.width) * side)))), true);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(place.map((at, axis) => Math.min(side - 1, Math.max(0, at + step[axis]))), true);
  });
  return canvas;
}

export function explainPixel(parent, network, run, open, choose) {
  const { layer: index, channel: map, place, input } = open, layer = run.layers[index], block = network.blocks[index];
  const pixel = pixelOf(layer, block, map, ...place), chosen = Math.min(input, layer.channelsIn - 1), { inputs, own, products, sum } = pixel.windows[chosen];
  parent.replaceChildren();
  add(parent, "h3", {}, `${layer.name}, map ${map}, row ${place[0]}, column ${place[1]}`);
  const flow = add(parent, "div", { class: "flow" });
  const canvas = enlarged(add(flow, "div", { class: "stack" }), layer, layer.maps, map, place, (next) => choose({ ...open, place: next }, ".enlarged"));
  if (layer.channelsIn > 1) {
    const shares = add(flow, "div");
    add(shares, "p", { class: "small" }, "what each map of the layer before adds; choose one");
    bars(shares, pixel.windows.map((window, c) => ({ name: `map ${c}`, value: window.sum })), chosen, (c) => choose({ ...open, input: c }, ".shares [aria-pressed=true]"));
  }
  const sums = add(flow, "div", { class: "sums" });
  const largest = Math.max(...inputs.map(Math.abs), ...own.map(Math.abs));
  nine(sums, layer.channelsIn > 1 ? `window on map ${chosen}` : "window on the input", inputs, largest);
  nine(sums, "weights", own, largest);
  nine(sums, `products, sum ${show(sum)}`, products, largest);
  add(parent, "p", { role: "status", class: "sentence" }, sentenceOf(layer, pixel));
  return canvas;
}

export function explainFeature(parent, network, run, channel) {
  const layer = run.layers.at(-1), size = layer.side ** 2, map = layer.maps.subarray(channel * size, (channel + 1) * size);
  const mean = map.reduce((a, b) => a + b) / size, most = Math.max(...map);
  parent.replaceChildren();
  add(parent, "h3", {}, `feature ${channel}`);
  const flow = add(parent, "div", { class: "flow" });
  paint(add(add(flow, "div", { class: "stack" }), "canvas", { class: "enlarged", role: "img", "aria-label": `conv6, map ${channel}` }), map, layer.side, most);
  const shares = add(flow, "div");
  add(shares, "p", { class: "small" }, "what it adds to the score of each digit: the feature times a weight");
  bars(shares, Array.from({ length: 10 }, (_, digit) => ({ name: `${digit}`, value: run.features[channel] * network.classifier[32 * digit + channel] })));
  add(parent, "p", { role: "status", class: "sentence" }, `The mean of conv6's map ${channel} is ${show(mean)}, its maximum ${show(most)}: together ${show(run.features[channel])}.`);
}

export function explainDigit(parent, network, run, probabilities, digit) {
  const weights = network.classifier.subarray(32 * digit, 32 * digit + 32);
  parent.replaceChildren();
  add(parent, "h3", {}, `the score of ${digit}`);
  add(parent, "p", { class: "small" }, "32 features, each times its weight");
  bars(add(parent, "div", { class: "many" }), Array.from(weights, (weight, c) => ({ name: `${show(run.features[c])} × ${show(weight)}`, value: weight * run.features[c] })));
  add(parent, "p", { role: "status", class: "sentence" }, `They add up to a score of ${show(run.logits[digit])}. Among the ten scores that is a probability of ${Math.round(100 * probabilities[digit])}%.`);
}
