// The pad in a notebook: the view, with a network from the kernel. It works on when the kernel is busy or gone.

import { BadFile, readNetwork } from "./network.js";
import { SIDE } from "./pad.js";
import { makeView } from "./view.js";

function bytesOf(model, name) {
  const { buffer, byteOffset, byteLength } = model.get(name);
  return new Uint8Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

function render({ model, el }) {
  let mine; // the pixels that this page has told the kernel
  function told(pixels) {
    mine = new DataView(pixels.buffer);
    model.set("pixels", mine);
    model.save_changes();
  }
  try {
    const { pad } = makeView(el, readNetwork(bytesOf(model, "weights").buffer), model.get("reader"), told);
    const load = () => {
      // what the kernel has set; no bytes clear the pad
      if (model.get("pixels") === mine) return;
      const bytes = bytesOf(model, "pixels");
      pad.load(bytes.length ? bytes : new Uint8Array(SIDE * SIDE));
    };
    model.on("change:pixels", load);
    if (bytesOf(model, "pixels").length) load();
    return () => model.off("change:pixels", load);
  } catch (error) {
    if (!(error instanceof BadFile)) throw error;
    el.textContent = error.message; // such as of weights that are not finite
  }
}

export default { render };
