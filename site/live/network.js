// The network in plain JavaScript: it reads the weights that Python wrote, and keeps every map on the way.
// Maps are Float32Arrays, channel by channel and row by row, as in PyTorch.

export const SIZES = [1, 8, 16, 16, 16, 16, 32]; // channels, before conv1 and behind each of the six blocks
const EPSILON = 1e-5; // of batch norm
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
export function readTensors(buffer) {
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

// What `mnist-nb train` writes, as a network: { mean, std, poolAfter, blocks, classifier, facts }.
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
    return { name: `conv${i + 1}`, weights: tensor(`${name}.conv.weight`, channels * SIZES[i] * 9), norm };
  });
  return { mean: tensor("mean", 1)[0], std: tensor("std", 1)[0], poolAfter, blocks, classifier: tensor("conv7.weight", 320), facts };
}

// Windows of 3x3 over all channels, with a rim of zeros: [channelsIn, side, side] to [channelsOut, side, side].
export function convolve(x, weights, channelsIn, channelsOut, side) {
  const result = new Float32Array(channelsOut * side * side);
  for (let o = 0; o < channelsOut; o++)
    for (let c = 0; c < channelsIn; c++)
      for (let k = 0; k < 9; k++) {
        const weight = weights[(o * channelsIn + c) * 9 + k];
        const down = Math.floor(k / 3) - 1, right = (k % 3) - 1;
        for (let row = Math.max(0, -down); row < Math.min(side, side - down); row++) {
          const to = (o * side + row) * side, from = (c * side + row + down) * side + right;
          for (let column = Math.max(0, -right); column < Math.min(side, side - right); column++)
            result[to + column] += weight * x[from + column];
        }
      }
  return result;
}

// Of each square of 2x2 the largest: [channels, side, side] to half the sides.
export function maxPool(x, channels, side) {
  const half = side / 2, result = new Float32Array(channels * half * half);
  for (let c = 0; c < channels; c++)
    for (let row = 0; row < half; row++)
      for (let column = 0; column < half; column++) {
        const at = (c * side + 2 * row) * side + 2 * column;
        result[(c * half + row) * half + column] = Math.max(x[at], x[at + 1], x[at + side], x[at + side + 1]);
      }
  return result;
}

// Batch norm as it is after training: a channel's own scale and shift.
export function scaleAndShift([weight, bias, mean, variance], channel) {
  const scale = weight[channel] / Math.sqrt(variance[channel] + EPSILON);
  return [scale, bias[channel] - mean[channel] * scale];
}

// One block, with all that it computes on the way: sums, pooled, normed, and maps, which the next block gets.
function runBlock({ name, weights, norm }, x, channelsIn, channels, side, pools) {
  const sums = convolve(x, weights, channelsIn, channels, side);
  const pooled = pools ? maxPool(sums, channels, side) : sums;
  if (pools) side /= 2;
  const size = side * side, normed = new Float32Array(pooled.length);
  for (let c = 0; c < channels; c++) {
    const [scale, shift] = scaleAndShift(norm, c);
    for (let i = c * size; i < (c + 1) * size; i++) normed[i] = scale * pooled[i] + shift;
  }
  const skips = channelsIn === channels;
  const maps = normed.map((value, i) => Math.max(0, value) + (skips ? x[i] : 0));
  return { name, channels, side, input: x, channelsIn, pools, skips, sums, pooled, normed, maps };
}

// Mean plus maximum of each channel: [channels, side, side] to [channels].
export function poolGlobally(x, channels) {
  const size = x.length / channels;
  return Float32Array.from({ length: channels }, (_, c) => {
    const map = x.subarray(c * size, (c + 1) * size);
    return map.reduce((sum, value) => sum + value, 0) / size + map.reduce((a, b) => Math.max(a, b));
  });
}

// Everything, for one picture of 28x28 bytes: { layers, features, logits }.
export function runNetwork(network, bytes) {
  let x = Float32Array.from(bytes, (byte) => (byte / 255 - network.mean) / network.std), side = 28;
  const layers = network.blocks.map((block, i) => {
    const layer = runBlock(block, x, SIZES[i], SIZES[i + 1], side, i === 0);
    ({ maps: x, side } = layer);
    if (i + 1 === network.poolAfter) [x, side] = [maxPool(x, layer.channels, side), side / 2];
    return layer;
  });
  const features = poolGlobally(x, 32);
  const logits = Float32Array.from({ length: 10 }, (_, d) => features.reduce((sum, value, c) => sum + value * network.classifier[32 * d + c], 0));
  return { layers, features, logits };
}
