// What stands behind a pixel of a map, a feature, or a digit's score, in numbers and pictures.
// Each `explain` builds its parts once, and gives a function that fills them in for a run. This returns a title, the sum
// as a sentence, and the window on the layer before, in shares of that map's side.

import { scaleAndShift } from "./network.js";
import { add } from "./pad.js";
import { frameIn, paint, rove } from "./maps.js";

const show = (value) => (Math.abs(value) < 0.005 ? "0.00" : value.toFixed(2)).replace("-", "−");
const sign = (value) => (value < 0 ? "minus" : "plus");

// The map of a channel: a view into all maps of its layer.
function mapOf(maps, channel, side) {
  return maps.subarray(channel * side * side, (channel + 1) * side * side);
}

// The row and column of the largest pixel.
function brightest(map, side) {
  const at = map.indexOf(Math.max(...map));
  return [Math.floor(at / side), at % side];
}

// Nine numbers as a small table, coloured by sign. Gives its painter.
function makeNine(parent) {
  const table = add(parent, "table", { class: "nine" });
  const caption = add(table, "caption");
  const body = add(table, "tbody");
  const rows = [0, 1, 2].map(() => add(body, "tr"));
  const cells = Array.from({ length: 9 }, (_, k) => add(rows[Math.floor(k / 3)], "td"));
  return (title, values, largest) => {
    caption.textContent = title;
    cells.forEach((cell, k) => {
      cell.textContent = show(values[k]);
      cell.className = sign(values[k]);
      cell.style.setProperty("--share", `${(55 * Math.abs(values[k])) / (largest || 1)}%`);
    });
  };
}

// The shares of a sum, each a button with a bar to the left or to the right. Gives their painter.
function makeShares(parent, title, count, choose) {
  const group = add(add(parent, "div"), "div", { class: "shares", role: "group", "aria-label": title });
  add(group.parentNode, "p", { class: "small" }, title).after(group);
  const lines = Array.from({ length: count }, (_, i) => {
    const button = add(group, "button", { type: "button" });
    button.addEventListener("click", () => choose(i));
    return {
      button,
      name: add(button, "span", { class: "name" }),
      bar: add(add(button, "span", { class: "bar" }), "span"),
      number: add(button, "span", { class: "number" }),
    };
  });
  rove(group);
  return (names, values, pressed) => {
    const largest = Math.max(...values.map(Math.abs), 1e-9);
    lines.forEach(({ button, name, bar, number }, i) => {
      if (pressed !== undefined) button.setAttribute("aria-pressed", i === pressed);
      name.textContent = names[i];
      number.textContent = show(values[i]);
      bar.className = sign(values[i]);
      bar.style.width = `${(50 * Math.abs(values[i])) / largest}%`;
    });
  };
}

// A map, enlarged. A pixel of it is chosen by arrow keys or a click; the mouse shows others in passing.
function makeEnlarged(parent, label, side, choose) {
  const stack = add(parent, "div", { class: "stack" });
  const canvas = add(stack, "canvas", {
    class: "enlarged",
    tabindex: 0,
    role: "application",
    "aria-label": `${label}, enlarged. The arrow keys choose a pixel.`,
  });
  const frame = add(stack, "div", { class: "frame" });
  let kept; // the chosen pixel, to which the mouse returns
  function at(event) {
    const box = canvas.getBoundingClientRect();
    return [event.clientY - box.top, event.clientX - box.left].map((far) =>
      Math.min(side - 1, Math.max(0, Math.floor((far / box.width) * side))),
    );
  }
  canvas.addEventListener("pointermove", (event) => choose(at(event), false));
  canvas.addEventListener("pointerleave", () => choose(kept, false));
  canvas.addEventListener("click", (event) => choose((kept = at(event)), true)); // not the touch of a scrolling thumb
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    choose((kept = kept.map((far, axis) => Math.min(side - 1, Math.max(0, far + step[axis])))), true);
  });
  return (map, place) => {
    kept ??= place;
    paint(canvas, map, side, Math.max(...map));
    frameIn(frame, { top: place[0] / side, left: place[1] / side, size: 1 / side });
  };
}

// Where the sum lies that a pixel of a map came from: pooling takes the largest of four.
function sourceOf({ pools, side }, sums, channel, [row, column]) {
  if (!pools) return [row, column];
  const map = mapOf(sums, channel, 2 * side);
  const four = [0, 1, 2, 3].map((k) => [2 * row + (k >> 1), 2 * column + (k & 1)]);
  return four.reduce((best, place) =>
    map[2 * side * place[0] + place[1]] > map[2 * side * best[0] + best[1]] ? place : best,
  );
}

// For each input channel the 3x3 inputs around a place, the weights that meet them, and their products.
function windowsOf(block, input, channel, [row, column]) {
  const side = Math.sqrt(input.length / block.channelsIn);
  return Array.from({ length: block.channelsIn }, (_, c) => {
    const inputs = Array.from({ length: 9 }, (_, k) => {
      const r = row + Math.floor(k / 3) - 1;
      const s = column + (k % 3) - 1;
      return r < 0 || s < 0 || r >= side || s >= side ? 0 : input[(c * side + r) * side + s];
    });
    const first = (channel * block.channelsIn + c) * 9;
    const weights = Array.from(block.weights.subarray(first, first + 9));
    const products = inputs.map((value, k) => value * weights[k]);
    return { inputs, weights, products, sum: products.reduce((a, b) => a + b) };
  });
}

// The computation of one pixel, in numbers.
function pixelOf(block, layer, channel, place) {
  const source = sourceOf(block, layer.sums, channel, place);
  const windows = windowsOf(block, layer.input, channel, source);
  const at = (channel * block.side + place[0]) * block.side + place[1];
  const [scale, shift] = scaleAndShift(block.norm, channel);
  return {
    source,
    windows,
    sum: windows.reduce((total, { sum }) => total + sum, 0),
    scale,
    shift,
    normed: layer.normed[at],
    skip: layer.skips ? layer.input[at] : null,
    value: layer.maps[at],
  };
}

function sayPixel({ pools }, { windows, sum, scale, shift, normed, skip, value }) {
  const many =
    windows.length > 1
      ? `${windows.length} windows of 3×3 numbers, times their weights, add up to ${show(sum)}`
      : `The window's nine products add up to ${show(sum)}`;
  const pooled = pools ? ", the largest of four neighbours" : "";
  const relu = normed > 0 ? "ReLU keeps it" : "ReLU makes it 0";
  const skipped = skip === null ? "" : ` The skip adds ${show(skip)}, the input at the same place.`;
  return `${many}${pooled}. Batch norm: ${show(sum)} × ${show(scale)} + ${show(shift)} = ${show(normed)}. ${relu}.${skipped} The pixel is ${show(value)}.`;
}

// `opened` is { layer, channel, place, input }; `choose` is told of another place or input, and whether to say it.
export function explainPixel(parent, network, opened, choose) {
  const block = network.blocks[opened.layer];
  const { name, channelsIn, side } = block;
  const { channel } = opened;
  const many = channelsIn > 1;
  const flow = add(parent, "div", { class: "flow" });
  const showMap = makeEnlarged(flow, `${name}, map ${channel}`, side, (place, said) => choose({ place }, said));
  const showShares = many
    ? makeShares(flow, "what each map of the layer before adds; choose one", channelsIn, (input) =>
        choose({ input }, true),
      )
    : () => {};
  const nines = add(flow, "div", { class: "sums" });
  const [showWindow, showWeights, showProducts] = [0, 1, 2].map(() => makeNine(nines));
  return (run) => {
    const layer = run.layers[opened.layer];
    const map = mapOf(layer.maps, channel, side);
    opened.place ??= brightest(map, side);
    const pixel = pixelOf(block, layer, channel, opened.place);
    const sums = pixel.windows.map((window) => window.sum);
    opened.input ??= sums.indexOf(Math.max(...sums)); // at first, what adds most
    const { inputs, weights, products, sum } = pixel.windows[opened.input];
    showMap(map, opened.place);
    showShares(
      sums.map((_, c) => `map ${c}`),
      sums,
      opened.input,
    );
    const largest = Math.max(...[...inputs, ...weights].map(Math.abs));
    const pooled = opened.layer === network.poolAfter ? ", the largest of each four" : "";
    const normalised = `(byte / 255 − ${show(network.mean)}) / ${show(network.std)}`;
    showWindow(many ? `window on map ${opened.input}${pooled}` : `window: ${normalised}`, inputs, largest);
    showWeights("weights", weights, largest);
    showProducts(`products, sum ${show(sum)}`, products, largest);
    const title = `${name}, map ${channel}, row ${opened.place[0]}, column ${opened.place[1]}`;
    const [row, column] = pixel.source;
    const sideIn = Math.sqrt(layer.input.length / channelsIn);
    return {
      title,
      text: sayPixel(block, pixel),
      window: { top: (row - 1) / sideIn, left: (column - 1) / sideIn, size: 3 / sideIn },
    };
  };
}

// `go` opens something else: here a digit.
export function explainFeature(parent, network, { channel }, choose, go) {
  const { side } = network.blocks.at(-1);
  const weights = Array.from({ length: 10 }, (_, digit) => network.classifier[32 * digit + channel]);
  const flow = add(parent, "div", { class: "flow" });
  const canvas = add(add(flow, "div", { class: "stack" }), "canvas", {
    class: "enlarged",
    role: "img",
    "aria-label": `conv6, map ${channel}`,
  });
  const showShares = makeShares(
    flow,
    "what it adds to the score of each digit, the feature times a weight; open one",
    10,
    (digit) => go({ digit }),
  );
  return (run) => {
    const map = mapOf(run.layers.at(-1).maps, channel, side);
    const most = Math.max(...map);
    const feature = run.features[channel];
    paint(canvas, map, side, most);
    showShares(
      weights.map((_, digit) => `digit ${digit}`),
      weights.map((weight) => feature * weight),
    );
    const text = `The mean of conv6's map ${channel} is ${show(map.reduce((a, b) => a + b) / map.length)}, its maximum ${show(most)}: together ${show(feature)}.`;
    return { title: `feature ${channel}`, text, window: { top: 0, left: 0, size: 1 } };
  };
}

// `go` opens a feature.
export function explainDigit(parent, network, { digit }, choose, go) {
  const weights = Array.from(network.classifier.subarray(32 * digit, 32 * digit + 32));
  const showShares = makeShares(
    add(parent, "div", { class: "many" }),
    "each feature times its weight; open one",
    32,
    (channel) => go({ layer: network.blocks.length, channel }),
  );
  return ({ features, logits }, probabilities, temperature) => {
    showShares(
      weights.map((weight, c) => `${c}: ${show(features[c])} × ${show(weight)}`),
      weights.map((weight, c) => weight * features[c]),
    );
    const divided = temperature ? `, each divided by the temperature ${show(temperature)},` : "";
    const share = `${Math.round(100 * probabilities[digit])}%`;
    return {
      title: `the score of ${digit}`,
      text: `32 features, times their weights, add up to a score of ${show(logits[digit])}. The softmax makes probabilities of the ten scores${divided} and this one becomes ${share}.`,
    };
  };
}
