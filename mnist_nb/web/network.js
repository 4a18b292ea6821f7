// The network in plain JavaScript: it reads the weights that Python wrote, and keeps every map on the way.
// Maps are Float32Arrays, channel by channel and row by row, as in PyTorch.

const SIZES = [1, 8, 16, 16, 16, 16, 32]; // channels, before conv1 and behind each of the six blocks
export const EPSILON = 1e-5; // of batch norm
const PLAIN = { // what a stored network may say of itself, as in Python, beside its dropout and where it pools
  network: "DigitNet", dropout_at: "features", pooling: "mixed", skips: true, norm: true, silu: false,
  widths: [8, 16, 16, 16, 16, 32], filters: "full", first_pool: 1,
};

// An error that says in one sentence what a file lacks.
export class BadFile extends Error {}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// A .safetensors file: eight bytes with the length of its header, the header as JSON, then the numbers.
function readTensors(buffer) {
  let header, start;
  try {
    start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(buffer, 8, start - 8)));
  } catch {
    throw new BadFile("This is no .safetensors file.");
  }
  const { __metadata__: notes = {}, ...entries } = header;
  const tensors = {};
  for (const [name, { dtype, data_offsets: [begin, end] = [] }] of Object.entries(entries)) {
    if (dtype !== "F32") continue; // counters of batches
    if (!(end <= buffer.byteLength - start)) throw new BadFile("This .safetensors file is cut short.");
    tensors[name] = new Float32Array(buffer.slice(start + begin, start + end));
  }
  return { tensors, notes };
}

// What `mnist-nb train` writes, as a network: { mean, std, poolAfter, blocks, classifier }.
export function readNetwork(buffer) {
  const { tensors, notes } = readTensors(buffer);
  const facts = parse(notes.facts);
  if (!facts?.network) throw new BadFile("This file holds no weights of a DigitNet: drop a model.safetensors that mnist-nb train wrote.");
  for (const [name, value] of Object.entries(facts.network))
    if (name in PLAIN && JSON.stringify(value) !== JSON.stringify(PLAIN[name])) throw new BadFile(`This file holds another network than a DigitNet: its ${name} is ${JSON.stringify(value)}.`);
  const poolAfter = facts.network.pool_after ?? 4;
  if (![2, 3, 4, 5].includes(poolAfter)) throw new BadFile(`This file holds no DigitNet: it pools after ${poolAfter}.`);
  function tensor(name, length) {
    if (tensors[name]?.length !== length) throw new BadFile(`This file holds another network than a DigitNet: ${name} does not fit.`);
    if (!tensors[name].every(Number.isFinite)) throw new BadFile("This file holds weights that are not finite: train again.");
    return tensors[name];
  }
  const blocks = SIZES.slice(1).map((channels, i) => {
    const name = `blocks.conv${i + 1}`;
    const norm = ["weight", "bias", "running_mean", "running_var"].map((part) => tensor(`${name}.norm.${part}`, channels));
    const weights = tensor(`${name}.conv.weight`, channels * SIZES[i] * 9);
    return { name: `conv${i + 1}`, channelsIn: SIZES[i], channels, side: i < poolAfter ? 14 : 7, pools: i === 0, weights, norm };
  });
  return { mean: tensor("mean", 1)[0], std: tensor("std", 1)[0], poolAfter, blocks, classifier: tensor("conv7.weight", 320) };
}

// Bytes to numbers around 0, as in training.
function normalise(bytes, { mean, std }) {
  const scaled = (byte) => (byte / 255 - mean) / std;
  return Float32Array.from(bytes, scaled);
}

// A rim of zeros around each channel: both sides grow by 2.
function addRim(x, channels, side) {
  const wide = side + 2;
  const rimmed = new Float32Array(channels * wide * wide);
  for (let i = 0; i < channels * side; i++) { // row by row
    const row = x.subarray(i * side, (i + 1) * side);
    const rim = 2 * Math.floor(i / side) + 1; // rows of it so far
    rimmed.set(row, (i + rim) * wide + 1);
  }
  return rimmed;
}

// Windows of 3x3 over all channels, to maps of the same side.
function convolve(input, weights, channelsIn, channels, side) {
  const wide = side + 2, x = addRim(input, channelsIn, side);
  const sums = new Float32Array(channels * side * side);
  for (let to = 0; to < channels; to++)
    for (let from = 0; from < channelsIn; from++) {
      const own = weights.subarray((to * channelsIn + from) * 9);
      const [a, b, c, d, e, f, g, h, i] = own;
      for (let row = 0; row < side; row++)
        for (let column = 0; column < side; column++) {
          const above = (from * wide + row) * wide + column;
          const at = above + wide, below = at + wide;
          sums[(to * side + row) * side + column] +=
            a * x[above] + b * x[above + 1] + c * x[above + 2] +
            d * x[at] + e * x[at + 1] + f * x[at + 2] +
            g * x[below] + h * x[below + 1] + i * x[below + 2];
        }
    }
  return sums;
}

// Of each square of 2x2 the largest: to half the sides.
function maxPool(x, channels, side) {
  const half = side / 2;
  const largest = new Float32Array(channels * half * half);
  for (let c = 0; c < channels; c++)
    for (let row = 0; row < half; row++)
      for (let column = 0; column < half; column++) {
        const at = (c * side + 2 * row) * side + 2 * column;
        const below = at + side;
        largest[(c * half + row) * half + column] =
          Math.max(x[at], x[at + 1], x[below], x[below + 1]);
      }
  return largest;
}

// What batch norm does to a channel after training.
export function scaleAndShift([weight, bias, mean, variance], c) {
  const scale = weight[c] / Math.sqrt(variance[c] + EPSILON);
  return [scale, bias[c] - mean[c] * scale];
}

// Batch norm: every channel with its own scale and shift.
function batchNorm(x, norm, channels) {
  const size = x.length / channels;
  const normed = new Float32Array(x.length);
  for (let c = 0; c < channels; c++) {
    const [scale, shift] = scaleAndShift(norm, c);
    for (let i = c * size; i < (c + 1) * size; i++)
      normed[i] = scale * x[i] + shift;
  }
  return normed;
}

// One block; whoever wants to look finds what it computes.
function runBlock(block, x) {
  const { channelsIn, channels, side, pools, weights, norm } = block;
  const sideIn = pools ? 2 * side : side;
  const sums = convolve(x, weights, channelsIn, channels, sideIn);
  const pooled = pools ? maxPool(sums, channels, sideIn) : sums;
  const normed = batchNorm(pooled, norm, channels);
  const relu = normed.map((value) => Math.max(0, value));
  const skips = channelsIn === channels;
  const maps = skips ? relu.map((value, i) => value + x[i]) : relu;
  return { input: x, sums, normed, skips, maps };
}

// Mean plus maximum of each channel: a number for each map.
function poolGlobally(x, channels) {
  const size = x.length / channels;
  return Float32Array.from({ length: channels }, (_, c) => {
    const map = x.subarray(c * size, (c + 1) * size);
    return map.reduce((a, b) => a + b) / size + Math.max(...map);
  });
}

// Ten scores, each of them a sum of all features times weights.
function classify(features, weights) {
  return Float32Array.from({ length: 10 }, (_, digit) => {
    const own = weights.subarray(digit * features.length);
    return features.reduce((sum, x, c) => sum + x * own[c], 0);
  });
}

// Everything, for one picture of 28x28 bytes.
export function runNetwork(network, bytes) {
  let x = normalise(bytes, network);
  const layers = network.blocks.map((block, i) => {
    const layer = runBlock(block, x), { channels, side } = block;
    const pools = i + 1 === network.poolAfter;
    x = pools ? maxPool(layer.maps, channels, side) : layer.maps;
    return layer;
  });
  const features = poolGlobally(x, 32);
  const logits = classify(features, network.classifier);
  return { layers, features, logits };
}
