// From a drawing to what MNIST looks like, as `center_digit` does it in Python: crop to the ink, scale the longer side
// to 20 pixels, put the centre of mass on the middle.

// Python's round: halves go to the even neighbour.
function round(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

// The weights with which PyTorch's antialiased bilinear scaling makes one of `to` pixels from `from` pixels.
function scalingWeights(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = scale * (i + 0.5);
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const last = Math.min(Math.trunc(center + reach + 0.5), from);
    const weights = Array.from({ length: last - first }, (_, j) =>
      Math.max(0, 1 - Math.abs((j + first - center + 0.5) / reach)),
    );
    const sum = weights.reduce((a, b) => a + b);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

// Rows of numbers, each scaled to another length.
function scaleRows(rows, to) {
  const all = scalingWeights(rows[0].length, to);
  return rows.map((row) =>
    all.map(({ first, weights }) => weights.reduce((sum, weight, j) => sum + weight * row[first + j], 0)),
  );
}

const transpose = (rows) => rows[0].map((_, i) => rows.map((row) => row[i]));

// Where the centre of mass of some sums lies, from the first of them.
function centerOf(sums) {
  const all = sums.reduce((a, b) => a + b);
  return sums.reduce((total, value, i) => total + value * i, 0) / all;
}

// Bytes of ink, [side, side], bright on a background of 0, to 28x28 bytes; nothing where there is no ink.
export function centerDigit(ink, side) {
  const rows = Array.from({ length: side }, (_, i) => Array.from(ink.subarray(i * side, (i + 1) * side)));
  const inked = (lines) => lines.map((line) => line.some((value) => value > 0));
  const [down, across] = [inked(rows), inked(transpose(rows))];
  if (!down.includes(true)) return null;
  const [top, bottom, left, right] = [
    down.indexOf(true),
    down.lastIndexOf(true),
    across.indexOf(true),
    across.lastIndexOf(true),
  ];
  const crop = rows.slice(top, bottom + 1).map((row) => row.slice(left, right + 1));
  const longer = Math.max(crop.length, crop[0].length);
  const [height, width] = [crop.length, crop[0].length].map((length) => Math.max(1, round((20 * length) / longer)));
  const scaled = transpose(scaleRows(transpose(scaleRows(crop, width)), height));
  const start = (lines) => {
    const center = centerOf(lines.map((line) => line.reduce((a, b) => a + b)));
    return Math.min(Math.max(round(14 - center), 0), 28 - lines.length);
  };
  const [y, x] = [start(scaled), start(transpose(scaled))];
  const seen = new Uint8Array(28 * 28);
  scaled.forEach((row, i) => row.forEach((value, j) => (seen[(y + i) * 28 + x + j] = round(value))));
  return seen;
}
