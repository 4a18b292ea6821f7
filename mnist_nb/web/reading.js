// What a reader makes of logits and features, as `read_digit` does it in Python, from the same reader.json.

export function softmax(logits, temperature = 1) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// The Mahalanobis distance of the features to the nearest digit's centre.
export function distance(features, { centres, whitening }) {
  const whiten = (vector) =>
    whitening[0].map((_, j) => vector.reduce((sum, value, i) => sum + value * whitening[i][j], 0));
  return Math.min(...centres.map((centre) => Math.hypot(...whiten(centre.map((value, i) => features[i] - value)))));
}

// { digit, probabilities, remark }: digit is null where the reader refuses, since no pen can have drawn it, or since its
// features are far from every digit's. Without a reader nothing is refused.
export function read({ logits, features }, drawn, reader) {
  const probabilities = softmax(logits, reader?.temperature);
  let remark = "";
  if (reader && !drawn) remark = "not like strokes of a pen";
  else if (reader && distance(features, reader) > reader.threshold) remark = "not like a digit";
  return { digit: remark ? null : probabilities.indexOf(Math.max(...probabilities)), probabilities, remark };
}
