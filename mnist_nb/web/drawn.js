// Whether a pen can have drawn it, as `looks_drawn` decides in Python: a line, with two sides, and not more of it than
// a digit needs.

// How far each pixel of a mask is from the nearest one outside it; beyond its rim all is outside. [height, width]
export function edgeDistances(mask, height, width) {
  const down = new Float32Array(height * width); // squared, within a column
  for (let column = 0; column < width; column++)
    for (let row = 0; row < height; row++) {
      let above = row, below = row;
      while (above >= 0 && mask[above * width + column]) above--;
      while (below < height && mask[below * width + column]) below++;
      down[row * width + column] = Math.min(row - above, below - row) ** 2;
    }
  return down.map((own, at) => {
    const start = at - (at % width), column = at % width;
    let nearest = Math.min(own, (column + 1) ** 2, (width - column) ** 2);
    for (let away = 1; away * away < nearest; away++) // both columns are inside: the rim is not nearer
      nearest = Math.min(nearest, away ** 2 + Math.min(down[start + column - away], down[start + column + away]));
    return Math.sqrt(nearest);
  });
}

// Bytes of ink, [side, side], to yes or no.
export function looksDrawn(ink, side) {
  const places = [];
  ink.forEach((value, at) => value > 51 && places.push(at)); // a fifth of full ink stands out
  if (!places.length) return false;
  const [rows, columns] = [places.map((at) => Math.floor(at / side)), places.map((at) => at % side)];
  const [top, left] = [Math.min(...rows), Math.min(...columns)];
  const [height, width] = [Math.max(...rows) - top + 1, Math.max(...columns) - left + 1];
  const mask = new Uint8Array(height * width);
  places.forEach((_, i) => (mask[(rows[i] - top) * width + columns[i] - left] = 1));
  const distances = edgeDistances(mask, height, width);
  const outline = distances.filter((distance) => distance === 1).length; // they touch paper
  const size = Math.max(height, width);
  const pen = Math.max(1, (4 * distances.reduce((sum, value) => sum + value, 0)) / places.length - 2);
  const length = places.length / pen;
  const slender = pen < 0.27 * size || length > 4.8 * pen;
  return slender && 0.94 * size < length && outline < Math.min(2.35 * length, 6.5 * size);
}
