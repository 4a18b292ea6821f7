// Everything that a visitor works with: a drawing goes in, and all that the network makes of it is shown.

import { centerDigit } from "./digit.js";
import { looksDrawn } from "./drawn.js";
import { explainDigit, explainFeature, explainPixel } from "./explain.js";
import { frameIn, makeLayers, paint, rove } from "./maps.js";
import { runNetwork } from "./network.js";
import { add, HELP, makePad, SIDE } from "./pad.js";
import { read } from "./reading.js";
import { strokesOf } from "./strokes.js";

function sayReading({ digit, probabilities, remark }) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const [first, second] = order.map((digit) => `${digit} (${Math.round(100 * probabilities[digit])}%)`);
  if (digit === null) return `Refuses: ${remark}. Most like ${first}.`; // short, so that it never moves the pad
  return probabilities[order[0]] > 0.9 ? `Reads ${first}.` : `Reads ${first}, or else ${second}.`;
}

// Ten bars; `open(digit)` is called when a digit is pressed. Gives a painter for probabilities.
function makeBars(parent, open) {
  const table = add(parent, "table", { class: "bars" });
  add(table, "caption", {}, "probability of each digit");
  const body = add(table, "tbody");
  const rows = [...Array(10).keys()].map((digit) => {
    const row = add(body, "tr");
    const button = add(
      add(row, "th", { scope: "row" }),
      "button",
      { type: "button", "aria-label": `${digit}: how its score is computed` },
      digit,
    );
    button.addEventListener("click", () => open(digit));
    return { row, bar: add(add(row, "td"), "div"), percent: add(row, "td") };
  });
  return (probabilities) =>
    rows.forEach(({ row, bar, percent }, digit) => {
      const share = probabilities?.[digit] ?? 0;
      row.className = share && share === Math.max(...probabilities) ? "first" : "";
      bar.style.width = `${100 * share}%`;
      percent.textContent = `${Math.round(100 * share)}%`;
    });
}

function makeExamples(parent, pad) {
  const group = add(add(parent, "p", { class: "small" }, "or start from "), "span", {
    class: "examples",
    role: "group",
    "aria-label": "examples",
  });
  for (let digit = 0; digit < 10; digit++)
    add(group, "button", { type: "button", "aria-label": `Draw a ${digit}` }, digit).addEventListener("click", () =>
      pad.show(strokesOf(digit)),
    );
  rove(group);
}

// Builds all of it in `root`. Where there is a reader, it may refuse. `told` gets the ink, [SIDE, SIDE] bytes, whenever
// a visitor has ended a stroke, and no bytes where the sample is back. `use` puts another network to work.
export function makeView(root, network, reader, told = () => {}) {
  const view = add(root, "div", { class: "mnist-view", role: "group", "aria-label": "Digit pad" });
  const status = add(view, "p", { class: "unseen", role: "status" }); // what is said
  const mine = add(view, "div", { class: "mine" });
  const its = add(view, "div");

  const drawing = add(mine, "div", { class: "drawing" });
  const reading = add(drawing, "p", { class: "reading" });
  const pad = makePad(drawing, { changed: update, lifted, say });
  makeExamples(drawing, pad);
  add(drawing, "p", { class: "small" }, `Draw one digit, large, with mouse, finger or pen. ${HELP}`);
  const answers = add(mine, "div", { class: "answers" });
  const input = add(add(answers, "div"), "div", { class: "input" });
  const seen = add(input, "canvas", { class: "seen", role: "img", "aria-label": "The drawing as the network sees it" });
  add(input.parentNode, "p", { class: "small" }, "what the network sees, 28×28");
  const showBars = makeBars(answers, (digit) => go({ digit }));

  add(its, "h2", {}, "All maps, from the first layer to the last");
  add(its, "p", { class: "small" }, "Tab goes from layer to layer, the arrow keys from map to map, Enter opens one.");
  const rows = add(its, "div", { class: "layers" });
  const detail = add(its, "div", { class: "detail" });
  add(detail, "h2", {}, "How a pixel is computed");
  const title = add(detail, "h3", { tabindex: -1 });
  const sentence = add(detail, "p", { class: "sentence" });
  const parts = add(detail, "div");

  const frame = document.createElement("span"); // on a map above, around the window that made the open pixel
  frame.className = "frame";
  let layers, run, answer; // of the last drawing
  // a map, with a place and an input when it is shown; or a feature, { layer, channel }; or { digit }
  let opened = { layer: 1, channel: 0 };
  let fill; // shows a run in what is open

  function open(next) {
    opened = next;
    layers.press(opened.layer, opened.channel);
    const inside = parts.contains(document.activeElement);
    parts.replaceChildren();
    const explain =
      opened.digit !== undefined
        ? explainDigit
        : opened.layer === network.blocks.length
          ? explainFeature
          : explainPixel;
    fill = explain(parts, network, opened, choose, go);
    if (inside) title.focus({ preventScroll: true });
    return refill();
  }
  function refill() {
    parts.style.visibility = run ? "visible" : "hidden"; // keeps its place
    const { window, ...words } = run
      ? fill(run, answer.probabilities, reader?.temperature)
      : { title: "", text: "Draw something, and its sums are here." };
    [title.textContent, sentence.textContent] = [words.title, words.text];
    title.hidden = !words.title;
    frame.hidden = !window;
    if (window) {
      (opened.layer ? layers.buttonOf(opened.layer - 1, opened.input ?? opened.channel) : input).append(frame);
      frameIn(frame, window);
    }
    return words.title ? `${words.title}: ${words.text}` : words.text;
  }
  function go(next) {
    say(open(next));
  }
  function choose(change, said) {
    Object.assign(opened, change);
    const words = refill();
    if (said) say(words);
  }
  function say(text) {
    status.textContent = text;
  }
  function update() {
    const ink = pad.pixels(), bytes = centerDigit(ink, SIDE);
    run = bytes && runNetwork(network, bytes);
    answer = run && read(run, looksDrawn(ink, SIDE), reader);
    paint(seen, bytes ?? [], 28, 255);
    showBars(answer?.probabilities);
    layers.paint(run);
    reading.textContent = run ? sayReading(answer) : "Nothing is drawn yet.";
    refill();
    if (!pad.isDown()) say(reading.textContent);
  }
  function lifted() {
    say(reading.textContent);
    told(pad.isSample() ? new Uint8Array() : pad.pixels());
  }
  function use(other, otherReader) {
    [network, reader, run, answer] = [other, otherReader, null, null];
    rows.replaceChildren();
    layers = makeLayers(rows, network.blocks, (layer, channel) => go({ layer, channel }));
    open({ ...opened, place: undefined, input: undefined });
    update();
  }
  use(network, reader);
  pad.open(strokesOf(3));
  return { pad, use };
}
