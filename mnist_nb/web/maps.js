// The maps of all layers as buttons, a row for each layer. One of them is open at a time.

import { add, grey } from "./pad.js";

export function paint(canvas, values, side, top) {
  if (canvas.width !== side || canvas.height !== side) canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(grey(values, side, top), 0, 0);
}

// A frame around a square window of what it lies on, in shares of its side; it ends where that ends.
export function frameIn(frame, { top, left, size }) {
  const percent = (share) => `${100 * Math.max(0, share)}%`;
  Object.assign(frame.style, {
    left: percent(left),
    right: percent(1 - left - size),
    top: percent(top),
    bottom: percent(1 - top - size),
  });
}

// Arrow keys, Home and End go from one of some buttons to another; Tab reaches the group once.
export function rove(group) {
  const buttons = () => [...group.querySelectorAll("button")];
  buttons().forEach((button, i) => (button.tabIndex = i ? -1 : 0));
  group.addEventListener("focusin", ({ target }) =>
    buttons().forEach((button) => (button.tabIndex = button === target ? 0 : -1)),
  );
  group.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return; // the browser's own
    const all = buttons();
    const now = all.indexOf(document.activeElement);
    const next = {
      ArrowRight: now + 1,
      ArrowDown: now + 1,
      ArrowLeft: now - 1,
      ArrowUp: now - 1,
      Home: 0,
      End: all.length - 1,
    }[event.key];
    if (next === undefined || now < 0) return;
    event.preventDefault();
    all[Math.min(all.length - 1, Math.max(0, next))].focus();
  });
}

// A row of buttons for each block of a network, and one for the features; `open(layer, channel)` is called when one is
// pressed. Gives a painter for a run, or for none, what marks the open one, and where a map's button is.
export function makeLayers(parent, blocks, open) {
  const rows = [...blocks, { name: "features", channels: 32, side: 1 }].map(({ name, channels, side }, layer) => {
    const text =
      side === 1
        ? `${name}: ${channels} numbers, each the mean plus the maximum of a map of conv6`
        : `${name}: ${channels} maps of ${side}×${side}`;
    add(parent, "h3", {}, text);
    const group = add(parent, "div", {
      class: side === 1 ? "maps numbers" : "maps",
      role: "group",
      "aria-label": text,
    });
    const canvases = Array.from({ length: channels }, (_, channel) => {
      const button = add(group, "button", {
        type: "button",
        "aria-label": `${name}, ${side === 1 ? "feature" : "map"} ${channel}`,
        "aria-pressed": "false",
      });
      button.addEventListener("click", () => open(layer, channel));
      return add(button, "canvas", { "aria-hidden": "true" });
    });
    rove(group);
    return { side, canvases };
  });
  return {
    paint(run) {
      const all = run ? [...run.layers.map(({ maps }) => maps), run.features] : rows.map(() => new Float32Array());
      all.forEach((maps, i) => {
        const { side, canvases } = rows[i];
        const size = side * side;
        const top = maps.reduce((a, b) => Math.max(a, b), 0);
        canvases.forEach((canvas, c) => paint(canvas, maps.subarray(c * size, (c + 1) * size), side, top));
      });
    },
    press(layer, channel) {
      rows.forEach(({ canvases }, i) =>
        canvases.forEach((canvas, c) => canvas.parentNode.setAttribute("aria-pressed", i === layer && c === channel)),
      );
    },
    buttonOf: (layer, channel) => rows[layer].canvases[channel].parentNode,
  };
}
