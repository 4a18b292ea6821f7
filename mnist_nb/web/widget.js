// The pad in a notebook: the view, with a network from the kernel. It works on when the kernel is busy or gone.

import { readNetwork } from "./network.js";
import { makeView } from "./view.js";

function bytesOf(model, name) {
  const { buffer, byteOffset, byteLength } = model.get(name);
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function render({ model, el }) {
  let mine; // the pixels that this page has told the kernel
  const { pad } = makeView(el, readNetwork(bytesOf(model, "weights").slice().buffer), model.get("reader"), (pixels) => {
    mine = new DataView(pixels.buffer);
    model.set("pixels", mine);
    model.save_changes();
  });
  function load() {
    if (model.get("pixels") !== mine && bytesOf(model, "pixels").length) pad.load(bytesOf(model, "pixels"));
  }
  model.on("change:pixels", load);
  load();
}

export default { render };
