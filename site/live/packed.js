// A network of few bits, as `mnist-nb export model.bin` packs it; chapter 09 tells how, and why.

import { BadFile, EPSILON } from "./network.js";

const CHANNELS = [1, 8, 16, 16, 16, 16, 32, 10]; // of a DigitNet: before conv1, and behind each convolution
const SIZES = CHANNELS.slice(1).map((to, i) => to * CHANNELS[i] * (i < 6 ? 9 : 1)); // weights of each convolution
const WEIGHTS = SIZES.reduce((a, b) => a + b);
const SCALES = CHANNELS.slice(1).reduce((a, b) => a + b);
const HALVES = 2 * SCALES - 10; // scales and biases; the classifier has no biases
const HEADER = 25; // bytes: "mnb" and the version, a checksum, bits, where the network pools, its channels, mean, std
const BROKEN = "This is no packed network, or a damaged one: write it with mnist-nb export model.bin.";

// Whether this is a packed network, or claims to be one.
export function isPacked(buffer) {
  const [m, n, b] = new Uint8Array(buffer.slice(0, 3));
  return String.fromCharCode(m, n, b) === "mnb";
}

// The checksum of zip files, bit by bit.
function crc32(bytes) {
  let rest = -1;
  for (const byte of bytes) {
    rest ^= byte;
    for (let i = 0; i < 8; i++) rest = (rest >>> 1) ^ (0xedb88320 & -(rest & 1));
  }
  return ~rest >>> 0;
}

// A float of 16 bits: a sign, five bits of exponent, ten of fraction.
function half(word) {
  const exponent = (word >> 10) & 31, fraction = (word & 1023) / 1024, sign = word >> 15 ? -1 : 1;
  if (exponent === 31) return NaN; // or infinite
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
}

// Whole numbers of a few bits each, without gaps, the highest bit first; all were shifted above zero.
function readWhole(bytes, bits, count) {
  const shift = 2 ** (bits - 1) - 1;
  const whole = new Float32Array(count).fill(-shift);
  for (let i = 0; i < count * bits; i++) {
    const bit = (bytes[i >> 3] >> (7 - (i & 7))) & 1;
    whole[Math.floor(i / bits)] += bit * 2 ** (bits - 1 - (i % bits));
  }
  return whole;
}

// What is written before the numbers, once all of it has been believed.
function readHeader(buffer) {
  const bytes = new Uint8Array(buffer), view = new DataView(buffer);
  const whole = bytes.length >= HEADER && bytes[3] === 1 && crc32(bytes.subarray(8)) === view.getUint32(4, true);
  if (!whole) throw new BadFile(BROKEN);
  const [bits, poolAfter, ...channels] = bytes.subarray(8, 17);
  const [mean, std] = [view.getFloat32(17, true), view.getFloat32(21, true)];
  const known = bits >= 2 && bits <= 8 && poolAfter >= 2 && poolAfter <= 5 && channels.join() === CHANNELS.slice(1).join();
  if (!known || bytes.length !== HEADER + 2 * HALVES + Math.ceil((WEIGHTS * bits) / 8)) throw new BadFile(BROKEN);
  return { bits, poolAfter, mean, std };
}

// The same as `readNetwork` gives: behind each convolution stands a batch norm that only shifts, and turns signs. The
// size of its scale goes into the weights, so that every sum has the size of what is shown behind batch norm.
export function readPacked(buffer) {
  const { bits, poolAfter, mean, std } = readHeader(buffer), view = new DataView(buffer);
  const halves = Float32Array.from({ length: HALVES }, (_, i) => half(view.getUint16(HEADER + 2 * i, true)));
  if (![mean, std, ...halves].every(Number.isFinite)) throw new BadFile(BROKEN);
  const whole = readWhole(new Uint8Array(buffer, HEADER + 2 * HALVES), bits, WEIGHTS);
  let channel = 0, weight = 0; // so many have been taken
  const layers = SIZES.map((size, i) => {
    const channelsIn = CHANNELS[i], channels = CHANNELS[i + 1];
    const scale = halves.slice(channel, channel + channels), bias = halves.slice(SCALES + channel, SCALES + channel + channels);
    const window = 9 * channelsIn;
    const norm = [i < 6 ? scale.map(Math.sign) : scale, bias, new Float32Array(channels), new Float32Array(channels).fill(1 - EPSILON)];
    const weights = whole.slice(weight, weight + size).map((value, k) => (i < 6 ? value * Math.abs(scale[Math.floor(k / window)]) : value));
    channel += channels;
    weight += size;
    return { name: `conv${i + 1}`, channelsIn, channels, side: i < poolAfter ? 14 : 7, pools: i === 0, weights, norm };
  });
  const { weights, norm: [scale] } = layers.pop();
  return { mean, std, poolAfter, blocks: layers, classifier: weights.map((value, i) => value * scale[Math.floor(i / 32)]) };
}
