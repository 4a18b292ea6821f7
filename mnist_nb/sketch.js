// The page's half of the drawing pad in nbs/08_sketch.ipynb. No library, and nothing is fetched from anywhere.

const MOVES = {
  ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0],
  Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1],
};
const STEP = 7; // pixels that a key moves the pen
const PATIENCE = 2000; // milliseconds until the page says that it is waiting
const HELP = "Keys: arrows, Home, End, Page Up and Page Down move the pen. Space puts it down and lifts it. " +
  "Backspace undoes, Delete clears, Tab leaves.";
const QUIET = { "data-lm-suppress-shortcuts": "true" }; // a key pressed here is no command to JupyterLab, such as "d d"
const WAITING = "The kernel has not answered yet. If it was restarted, run this cell again.";

function add(parent, tag, attributes = {}, text = "") {
  const node = parent.appendChild(document.createElement(tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
}

function bytesOf(model, name) {
  const view = model.get(name);
  return view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array();
}

// Bytes as a grey picture; where there are none, it is black.
function picture(bytes, side) {
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    image.data.fill(bytes[i] ?? 0, 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  return image;
}

// The maps of a layer, one beside the other.
function paintLayer(canvas, bytes, channels, side) {
  const tile = side === 1 ? 11 : 24, columns = side === 1 ? 32 : Math.min(16, channels); // the features fit into one row
  const small = new OffscreenCanvas(side, side).getContext("2d");
  canvas.width = columns * (tile + 1) - 1;
  canvas.height = Math.ceil(channels / columns) * (tile + 1) - 1;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (let i = 0; i < channels; i++) {
    small.putImageData(picture(bytes.subarray(i * side * side), side), 0, 0);
    context.drawImage(small.canvas, (i % columns) * (tile + 1), Math.floor(i / columns) * (tile + 1), tile, tile);
  }
}

function sentence(probabilities) {
  if (!probabilities.length) return "Nothing is drawn yet.";
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const [first, second] = order.map((digit) => `${digit} (${Math.round(100 * probabilities[digit])}%)`);
  return probabilities[order[0]] > 0.9 ? `Reads ${first}.` : `Reads ${first}, or else ${second}.`;
}

// The network's side: it paints whatever of the answer changes.
function showAnswer(root, model, tell) {
  const middle = add(root, "div");
  const seen = add(middle, "canvas", { class: "seen", width: 28, height: 28, role: "img", "aria-label": "The drawing as the network sees it" });
  add(middle, "p", { class: "small" }, "what the network sees, 28×28");
  const table = add(middle, "table");
  add(table, "caption", { class: "small" }, "probability of each digit");
  const rows = [...Array(10).keys()].map((digit) => {
    const row = add(table, "tr");
    add(row, "th", { scope: "row" }, digit);
    return { row, bar: add(add(row, "td"), "div"), percent: add(row, "td") };
  });
  const right = add(root, "div");
  const layers = model.get("layers").map(([name, channels, side]) => {
    const text = `${name}: ${channels} ${side === 1 ? "numbers" : `maps of ${side}×${side}`}`;
    add(right, "p", { class: "small" }, text);
    return { channels, side, canvas: add(right, "canvas", { class: "maps", role: "img", "aria-label": text }) };
  });
  const painters = {
    probabilities() {
      const probabilities = model.get("probabilities");
      rows.forEach(({ row, bar, percent }, digit) => {
        const share = probabilities[digit] ?? 0;
        row.className = share && share === Math.max(...probabilities) ? "first" : "";
        bar.style.width = `${100 * share}%`;
        percent.textContent = `${Math.round(100 * share)}%`;
      });
      tell(sentence(probabilities));
    },
    seen() {
      seen.getContext("2d").putImageData(picture(bytesOf(model, "seen"), 28), 0, 0);
    },
    maps() {
      let rest = bytesOf(model, "maps");
      for (const { channels, side, canvas } of layers) {
        paintLayer(canvas, rest, channels, side);
        rest = rest.subarray(channels * side * side);
      }
    },
  };
  for (const [name, paint] of Object.entries(painters)) {
    model.on(`change:${name}`, paint);
    paint();
  }
}

// At most one drawing is under way to the kernel. When it is answered, however late, the newest drawing follows.
function sender(root, model, newest, tell) {
  let underWay = false, stale = false, timer;
  function send() {
    stale = underWay;
    if (underWay) return;
    underWay = true;
    root.setAttribute("aria-busy", "true");
    timer = setTimeout(() => tell(WAITING), PATIENCE);
    model.set("pixels", newest());
    model.set("turn", model.get("turn") + 1);
    model.save_changes();
  }
  model.on("change:answered", () => {
    underWay = false;
    clearTimeout(timer);
    tell(sentence(model.get("probabilities")));
    if (stale) send();
    else root.setAttribute("aria-busy", "false");
  });
  return send;
}

function render({ model, el }) {
  const side = model.get("side"), width = model.get("pen");
  const root = add(el, "div", { class: "mnist-pad", role: "group", "aria-label": "Digit pad", "aria-busy": "false" });
  const left = add(root, "div", { class: "drawing" });
  const reading = add(left, "p", { class: "reading", "aria-hidden": "true" });
  const status = add(left, "p", { class: "unseen", role: "status" }); // what `reading` shows, said only when the pen is up
  const paper = add(left, "canvas", { class: "paper", width: 2 * side, height: 2 * side, tabindex: 0, role: "application", "aria-label": `Drawing area. ${HELP}`, ...QUIET });
  const undoButton = add(left, "button", { type: "button", ...QUIET }, "Undo");
  const clearButton = add(left, "button", { type: "button", ...QUIET }, "Clear");
  add(left, "p", { class: "small" }, `Draw one digit, large, with mouse, finger or pen. ${HELP}`);
  const sheet = paper.getContext("2d");
  const ink = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });

  let base = null, strokes = []; // the drawing: strokes over a picture that was there before
  const past = []; // the drawings to which undo goes back
  let stroke = null; // the one being drawn
  let pointer = null; // the mouse, finger or pen that draws it
  let cursor = null; // where the keyboard's pen is, while it is in use
  let mine; // the pixels that this page sent itself

  function tell(text) {
    reading.textContent = text;
    if (!stroke) status.textContent = text;
  }
  function repaint() {
    ink.fillRect(0, 0, side, side);
    if (base) ink.putImageData(base, 0, 0);
    Object.assign(ink, { strokeStyle: "white", lineWidth: width, lineCap: "round", lineJoin: "round" });
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
      sheet.arc(2 * cursor[0], 2 * cursor[1], width, 0, 7);
      sheet.stroke();
      if (stroke) sheet.fill();
    }
  }
  function pixels() {
    const { data } = ink.getImageData(0, 0, side, side);
    return (mine = new DataView(Uint8Array.from({ length: side * side }, (_, i) => data[4 * i]).buffer));
  }
  const send = sender(root, model, pixels, tell);
  function changed() {
    repaint();
    send();
  }
  function begin(point) {
    past.push([base, strokes]);
    stroke = [point];
    strokes = [...strokes, stroke];
    changed();
  }
  function extend(points) {
    stroke.push(...points);
    changed();
  }
  function lift() {
    stroke = pointer = null;
    repaint();
    tell(reading.textContent);
  }
  function undo() {
    lift();
    if (past.length) [base, strokes] = past.pop();
    changed();
  }
  function clear() {
    lift();
    past.push([base, strokes]);
    [base, strokes] = [null, []];
    changed();
  }
  function load() { // pixels that the kernel has set
    if (model.get("pixels") === mine) return;
    const bytes = bytesOf(model, "pixels");
    [base, strokes] = [bytes.length ? picture(bytes, side) : null, []];
    repaint();
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
    if (key === "Delete") return clear();
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
  clearButton.addEventListener("click", clear);
  model.on("change:pixels", load);
  load();
  showAnswer(root, model, tell);
}

export default { render };
