// A pad to draw a digit on, with mouse, touch, pen and keys. It knows no network: it hands its ink to whoever asked.

const MOVES = {
  ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0],
  Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1],
};
const STEP = 7; // pixels that a key moves the pen
const HELP = "Keys: arrows, Home, End, Page Up and Page Down move the pen. Space puts it down and lifts it. " +
  "Backspace undoes, Delete clears, Tab leaves.";
const QUIET = { "data-lm-suppress-shortcuts": "true" }; // a key pressed here is no command to JupyterLab, such as "d d"

export function add(parent, tag, attributes = {}, text = "") {
  const node = parent.appendChild(document.createElement(tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
}

// Bytes as a grey picture; where there are none, it is black.
export function picture(bytes, side) {
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    image.data.fill(bytes[i] ?? 0, 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  return image;
}

// `changed` is called at every change of the drawing, `lifted` when a stroke ends. Gives { pixels, show }.
export function makePad(parent, { side, pen, changed, lifted }) {
  const paper = add(parent, "canvas", { class: "paper", width: 2 * side, height: 2 * side, tabindex: 0, role: "application", "aria-label": `Drawing area. ${HELP}`, ...QUIET });
  const undoButton = add(parent, "button", { type: "button", ...QUIET }, "Undo");
  const clearButton = add(parent, "button", { type: "button", ...QUIET }, "Clear");
  add(parent, "p", { class: "small" }, `Draw one digit, large, with mouse, finger or pen. ${HELP}`);
  const sheet = paper.getContext("2d");
  const ink = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });

  let base = null, strokes = []; // the drawing: strokes over a picture that was there before
  const past = []; // the drawings to which undo goes back
  let stroke = null; // the one being drawn
  let pointer = null; // the mouse, finger or pen that draws it
  let cursor = null; // where the keyboard's pen is, while it is in use

  function repaint() {
    ink.fillRect(0, 0, side, side);
    if (base) ink.putImageData(base, 0, 0);
    Object.assign(ink, { strokeStyle: "white", lineWidth: pen, lineCap: "round", lineJoin: "round" });
    for (const points of strokes) {
      ink.beginPath();
      points.forEach(([x, y], i) => ink.lineTo(i ? x : x - 0.01, y)); // a stroke of one point is a dot
      ink.lineTo(...points.at(-1));
      ink.stroke();
    }
    sheet.drawImage(ink.canvas, 0, 0, 2 * side, 2 * side);
    if (!cursor) return;
    for (const [style, line] of [["black", 6], ["white", 2]]) {
      Object.assign(sheet, { strokeStyle: style, lineWidth: line, fillStyle: "grey" });
      sheet.beginPath();
      sheet.arc(2 * cursor[0], 2 * cursor[1], pen, 0, 7);
      sheet.stroke();
      if (stroke) sheet.fill();
    }
  }
  function update() {
    repaint();
    changed();
  }
  function begin(point) {
    past.push([base, strokes]);
    stroke = [point];
    strokes = [...strokes, stroke];
    update();
  }
  function extend(points) {
    stroke.push(...points);
    update();
  }
  function lift() {
    if (stroke) lifted();
    stroke = pointer = null;
    repaint();
  }
  function undo() {
    lift();
    if (past.length) [base, strokes] = past.pop();
    update();
    lifted();
  }
  function replace(newBase, newStrokes) {
    lift();
    past.push([base, strokes]);
    [base, strokes] = [newBase, newStrokes];
    update();
    lifted();
  }

  function at(event) {
    const box = paper.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
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
    cursor ??= [side / 2, side / 2];
    if (key !== " ") cursor = cursor.map((value, axis) => Math.min(side, Math.max(0, value + STEP * MOVES[key][axis])));
    if (key === " ") stroke ? lift() : begin(cursor);
    else stroke ? extend([cursor]) : repaint();
  }
  paper.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !([" ", "Backspace", "Delete"].includes(event.key) || event.key in MOVES)) return;
    event.preventDefault();
    press(event.key);
  });
  paper.addEventListener("focus", () => {
    if (paper.matches(":focus-visible")) cursor ??= [side / 2, side / 2];
    repaint();
  });
  paper.addEventListener("blur", () => {
    cursor = null;
    lift();
  });
  undoButton.addEventListener("click", undo);
  clearButton.addEventListener("click", () => replace(null, []));
  return {
    pixels() { // bytes of ink, [side, side]
      const { data } = ink.getImageData(0, 0, side, side);
      return Uint8Array.from({ length: side * side }, (_, i) => data[4 * i]);
    },
    show(points) { // strokes with points from 0 to 1, instead of what was there
      replace(null, points.map((line) => line.map(([x, y]) => [x * side, y * side])));
    },
    load(bytes) { // a picture, instead of what was there; nobody is told
      [base, strokes] = [bytes.length ? picture(bytes, side) : null, []];
      repaint();
    },
    isDown: () => stroke !== null,
  };
}
