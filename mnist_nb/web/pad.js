// A pad to draw a digit on, with mouse, touch, pen and keys. It knows no network: it hands its ink to whoever asked.

const MOVES = {
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  Home: [-1, -1],
  PageUp: [1, -1],
  End: [-1, 1],
  PageDown: [1, 1],
};
export const SIDE = 140; // of the pad, pixels, as in Python
const PEN = 14; // width of its pen, pixels
const STEP = 7; // pixels that a key moves the pen
export const HELP =
  "Keys: arrows, Home, End, Page Up and Page Down move the pen. Space puts it down and lifts it. " +
  "Backspace undoes, Delete clears, Tab leaves.";

export function add(parent, tag, attributes = {}, text = "") {
  const node = parent.appendChild(document.createElement(tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (tag === "button" || "tabindex" in attributes) node.setAttribute("data-lm-suppress-shortcuts", "true"); // of JupyterLab
  node.textContent = text;
  return node;
}

// Numbers as a grey picture: 0, less, and what is missing are black, `top` is white.
export function grey(values, side, top) {
  const image = new ImageData(side, side);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++)
    pixels[i] = 0xff000000 + 0x010101 * Math.round((255 * Math.max(0, values[i] ?? 0)) / (top || 1));
  return image;
}

// `changed` is called at every change of the drawing, `lifted` when a visitor has ended a stroke, undone or cleared.
export function makePad(parent, { changed, lifted }) {
  const paper = add(parent, "canvas", {
    class: "paper",
    width: 2 * SIDE,
    height: 2 * SIDE,
    tabindex: 0,
    role: "application",
    "aria-label": `Drawing area. ${HELP}`,
  });
  const undoButton = add(parent, "button", { type: "button" }, "Undo");
  const clearButton = add(parent, "button", { type: "button" }, "Clear");
  const sheet = paper.getContext("2d");
  const ink = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });

  let base = null,
    strokes = []; // the drawing: strokes over a picture that was there before
  const past = []; // the drawings to which undo goes back
  let stroke = null; // the one being drawn
  let pointer = null; // the mouse, finger or pen that draws it
  let cursor = null; // where the keyboard's pen is, while it is in use
  let sample = false; // whether the first stroke replaces what is shown

  function repaint() {
    ink.fillRect(0, 0, SIDE, SIDE);
    if (base) ink.putImageData(base, 0, 0);
    Object.assign(ink, { strokeStyle: "white", lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    for (const points of strokes) {
      ink.beginPath();
      points.forEach(([x, y], i) => ink.lineTo(i ? x : x - 0.01, y)); // a stroke of one point is a dot
      ink.lineTo(...points.at(-1));
      ink.stroke();
    }
    sheet.drawImage(ink.canvas, 0, 0, 2 * SIDE, 2 * SIDE);
    if (!cursor) return;
    for (const [style, line] of [
      ["black", 6],
      ["white", 2],
    ]) {
      Object.assign(sheet, { strokeStyle: style, lineWidth: line, fillStyle: "grey" });
      sheet.beginPath();
      sheet.arc(2 * cursor[0], 2 * cursor[1], PEN, 0, 7);
      sheet.stroke();
      if (stroke) sheet.fill();
    }
  }
  function update() {
    repaint();
    changed();
  }
  function put(newBase, newStrokes) {
    past.push([base, strokes]);
    [base, strokes, sample] = [newBase, newStrokes, false];
  }
  function begin(point) {
    stroke = [point];
    put(sample ? null : base, sample ? [stroke] : [...strokes, stroke]);
    update();
  }
  function extend(points) {
    stroke.push(...points);
    update();
  }
  function lift() {
    const drawn = stroke;
    stroke = pointer = null;
    repaint();
    if (drawn) lifted();
  }
  function replace(newBase, newStrokes) {
    lift();
    put(newBase, newStrokes);
    update();
    lifted();
  }
  function undo() {
    lift();
    if (past.length) [base, strokes] = past.pop();
    update();
    lifted();
  }

  function at(event) {
    const box = paper.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  }
  paper.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pointer !== null) return;
    event.preventDefault();
    paper.setPointerCapture(event.pointerId);
    paper.focus({ preventScroll: true });
    pointer = event.pointerId;
    cursor = null;
    begin(at(event));
  });
  paper.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    extend((events.length ? events : [event]).map(at));
  });
  for (const name of ["pointerup", "pointercancel"])
    paper.addEventListener(name, (event) => event.pointerId === pointer && lift());

  function press(key) {
    if (key === "Backspace") return undo();
    if (key === "Delete") return replace(null, []);
    cursor ??= [SIDE / 2, SIDE / 2];
    if (key !== " ") cursor = cursor.map((value, axis) => Math.min(SIDE, Math.max(0, value + STEP * MOVES[key][axis])));
    if (key === " ") stroke ? lift() : begin(cursor);
    else stroke ? extend([cursor]) : repaint();
  }
  paper.addEventListener("keydown", (event) => {
    if (
      event.ctrlKey ||
      event.altKey ||
      event.metaKey ||
      !([" ", "Backspace", "Delete"].includes(event.key) || event.key in MOVES)
    )
      return;
    event.preventDefault();
    press(event.key);
  });
  paper.addEventListener("focus", () => {
    if (paper.matches(":focus-visible")) cursor ??= [SIDE / 2, SIDE / 2];
    repaint();
  });
  paper.addEventListener("blur", () => {
    cursor = null;
    lift();
  });
  undoButton.addEventListener("click", undo);
  clearButton.addEventListener("click", () => replace(null, []));
  const onPad = (strokes) => strokes.map((points) => points.map(([x, y]) => [x * SIDE, y * SIDE]));
  return {
    pixels() {
      // bytes of ink, [SIDE, SIDE]
      const { data } = ink.getImageData(0, 0, SIDE, SIDE);
      return Uint8Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i]);
    },
    show(strokes) {
      // with points from 0 to 1, instead of what was there
      replace(null, onPad(strokes));
    },
    open(strokes) {
      // the same as a sample, which the first stroke replaces; it counts as drawn by nobody
      put(null, onPad(strokes));
      sample = true;
      update();
    },
    load(bytes) {
      // a picture, instead of what was there; it counts as drawn by nobody
      put(grey(bytes, SIDE, 255), []);
      update();
    },
    isDown: () => stroke !== null,
  };
}
