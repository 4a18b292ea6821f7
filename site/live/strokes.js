// Digits as somebody might draw them, as in `strokes_of` of the chapter on the pad: points from 0 to 1, y downwards.

function arc(x, y, width, height, start, end) {
  return Array.from({ length: 25 }, (_, i) => {
    const angle = ((start + ((end - start) * i) / 24) * Math.PI) / 180;
    return [x + width * Math.cos(angle), y + height * Math.sin(angle)];
  });
}

export function strokesOf(digit) {
  return [
    [arc(0.5, 0.5, 0.24, 0.36, -90, 270)],
    [[[0.52, 0.14], [0.48, 0.86]]],
    [[...arc(0.5, 0.33, 0.22, 0.19, -170, 40), [0.28, 0.84], [0.75, 0.84]]],
    [[...arc(0.47, 0.32, 0.21, 0.18, -150, 90), ...arc(0.47, 0.68, 0.24, 0.18, -90, 150)]],
    [[[0.34, 0.15], [0.27, 0.53], [0.74, 0.53]], [[0.66, 0.17], [0.61, 0.86]]],
    [[[0.7, 0.16], [0.37, 0.16], [0.34, 0.46], ...arc(0.47, 0.64, 0.23, 0.21, -125, 145)]],
    [[[0.6, 0.13], [0.42, 0.34], ...arc(0.5, 0.66, 0.2, 0.2, -180, 180)]],
    [[[0.26, 0.17], [0.74, 0.17], [0.44, 0.86]]],
    [[...arc(0.5, 0.32, 0.17, 0.17, 90, -270), ...arc(0.5, 0.68, 0.21, 0.19, -90, 270)]],
    [[...arc(0.49, 0.34, 0.19, 0.19, 0, -360), [0.62, 0.86]]],
  ][digit];
}
