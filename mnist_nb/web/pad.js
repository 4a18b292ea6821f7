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

// Adds to bytes of ink, [SIDE, SIDE], that of a round pen, as `draw_strokes` does it in Python: half at its radius from
// the line, fading over one pixel there. It is never read back from a canvas: some browsers blur what they give back.
function drawInk(ink, strokes) {
  const reach = PEN / 2 + 0.5;
  const range = (a, b) => [
    Math.max(0, Math.floor(Math.min(a, b) - reach)),
    Math.min(SIDE, Math.ceil(Math.max(a, b) + reach)),
  ];
  for (const points of strokes)
    points.forEach(([x, y], i) => {
      const [toX, toY] = points[i + 1] ?? [x, y]; // a stroke of one point is a dot
      const [alongX, alongY] = [toX - x, toY - y];
      const [top, bottom] = range(y, toY);
      const [left, right] = range(x, toX);
      for (let row = top; row < bottom; row++)
        for (let column = left; column < right; column++) {
          const across = column + 0.5 - x;
          const down = row + 0.5 - y;
          const foot = (across * alongX + down * alongY) / Math.max(1e-9, alongX ** 2 + alongY ** 2);
          const share = Math.min(1, Math.max(0, foot)); // not before the start, not beyond the end
          const distance = Math.sqrt((across - share * alongX) ** 2 + (down - share * alongY) ** 2);
          const at = row * SIDE + column;
          ink[at] = Math.max(ink[at], Math.round(255 * Math.min(1, Math.max(0, reach - distance))));
        }
    });
}

// `changed` is called at every change of the drawing, `lifted` when a visitor has ended a stroke, undone or cleared.
// `say` gets words for those who do not see the pen.
export function makePad(parent, { changed, lifted, say }) {
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
  const small = new OffscreenCanvas(SIDE, SIDE).getContext("2d");
  const ink = new Uint8Array(SIDE * SIDE);

  let base = null; // the drawing: a picture that was there before, in bytes, and the
  let strokes = []; // strokes over it
  const past = []; // the drawings to which undo goes back
  let stroke = null; // the one being drawn
  let pointer = null; // the mouse, finger or pen that draws it
  let cursor = null; // where the keyboard's pen is, while it is in use
  let sample = false; // whether the first stroke replaces what is shown

  function repaint() {
    if (base) ink.set(base);
    else ink.fill(0);
    drawInk(ink, strokes);
    showInk();
  }
  function showInk() {
    small.putImageData(grey(ink, SIDE, 255), 0, 0);
    sheet.drawImage(small.canvas, 0, 0, 2 * SIDE, 2 * SIDE);
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
    past.push([base, strokes, sample]);
    if (past.length > 200) past.shift();
    [base, strokes, sample] = [newBase, newStrokes, false];
  }
  function begin(point) {
    stroke = [point];
    put(sample ? null : base, sample ? [stroke] : [...strokes, stroke]);
    update();
  }
  function extend(points) {
    drawInk(ink, [[stroke.at(-1), ...points]]); // ink only ever grows within a stroke
    stroke.push(...points);
    showInk();
    changed();
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
    if (past.length) [base, strokes, sample] = past.pop();
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
    if (pointer !== null) return; // the mouse is drawing
    cursor ??= [SIDE / 2, SIDE / 2];
    if (key !== " ") cursor = cursor.map((value, axis) => Math.min(SIDE, Math.max(0, value + STEP * MOVES[key][axis])));
    if (stroke) return key === " " ? lift() : extend([cursor]);
    if (key === " ") {
      begin(cursor);
      return say("Pen down.");
    }
    repaint();
    const [column, row] = cursor.map((value) => value / STEP);
    say(`Pen at column ${column}, row ${row} of ${SIDE / STEP}.`);
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
    pixels: () => ink.slice(), // bytes of ink, [SIDE, SIDE]
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
      // a picture, instead of what was there and of what is being drawn; it counts as drawn by nobody
      stroke = pointer = null;
      put(bytes, []);
      update();
    },
    isDown: () => stroke !== null,
    isSample: () => sample,
  };
}
