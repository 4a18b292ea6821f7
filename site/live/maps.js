// The maps of all layers as buttons, a row for each layer. One of them is open at a time.

import { add } from "./pad.js";

// Numbers as grey: black is 0, white is `top`.
export function paint(canvas, values, side, top) {
  canvas.width = canvas.height = side;
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    image.data.fill((255 * Math.max(0, values[i])) / (top || 1), 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// Arrow keys, Home and End go from one of some buttons to another; Tab reaches the group once.
export function rove(group) {
  const buttons = () => [...group.querySelectorAll("button")];
  buttons().forEach((button, i) => (button.tabIndex = i ? -1 : 0));
  group.addEventListener("focusin", ({ target }) => buttons().forEach((button) => (button.tabIndex = button === target ? 0 : -1)));
  group.addEventListener("keydown", (event) => {
    const all = buttons(), now = all.indexOf(document.activeElement);
    const next = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined || now < 0) return;
    event.preventDefault();
    all[Math.min(all.length - 1, Math.max(0, next))].focus();
  });
}

// Rows of buttons; `open(layer, channel)` is called when one is pressed. Gives a painter for a run's layers.
export function makeLayers(parent, layers, features, open) {
  const all = [...layers.map(({ name, channels, side }) => ({ name, channels, side })), { name: "features", channels: features, side: 1 }];
  const rows = all.map(({ name, channels, side }, layer) => {
    const text = side === 1 ? `${name}: ${channels} numbers, each the mean plus the maximum of a map of conv6` : `${name}: ${channels} maps of ${side}×${side}`;
    add(parent, "h3", {}, text);
    const group = add(parent, "div", { class: side === 1 ? "maps numbers" : "maps", role: "group", "aria-label": text });
    const canvases = Array.from({ length: channels }, (_, channel) => {
      const button = add(group, "button", { type: "button", "aria-label": `${name}, ${side === 1 ? "feature" : "map"} ${channel}`, "aria-pressed": "false" });
      button.addEventListener("click", () => open(layer, channel));
      return add(button, "canvas", { "aria-hidden": "true" });
    });
    rove(group);
    return { side, canvases };
  });
  return {
    paint(run) {
      [...run.layers.map((layer) => layer.maps), run.features].forEach((maps, i) => {
        const { side, canvases } = rows[i], size = side * side, top = maps.reduce((a, b) => Math.max(a, b), 0);
        canvases.forEach((canvas, c) => paint(canvas, maps.subarray(c * size, (c + 1) * size), side, top));
      });
    },
    press(layer, channel) { // marks the open one
      rows.forEach(({ canvases }, i) => canvases.forEach((canvas, c) => canvas.parentNode.setAttribute("aria-pressed", i === layer && c === channel)));
    },
  };
}
