/* Arrays of the model: how they are stored, and products with them. */

function bytesOf(text) {
  const binary = atob(text.replace(/\s+/g, ''));
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/* A number of float16 from its bits. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/* Row by row, as { numbers, rows, columns }; int8 has a float32 scale for each row before it. */
function stored(bytes, spec) {
  const [at, rows, columns, kind] = spec, count = rows * columns;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const numbers = new Float32Array(count);
  if (kind === 'float32') {
    for (let i = 0; i < count; i++) numbers[i] = view.getFloat32(at + 4 * i, true);
  } else if (kind === 'float16') {
    for (let i = 0; i < count; i++) numbers[i] = half(view.getUint16(at + 2 * i, true));
  } else {
    const from = at + 4 * rows;
    for (let r = 0; r < rows; r++) {
      const scale = view.getFloat32(at + 4 * r, true);
      for (let c = 0; c < columns; c++) {
        numbers[r * columns + c] = scale * view.getInt8(from + r * columns + c);
      }
    }
  }
  return { numbers, rows, columns };
}

const TILE = 8;

/* The same in tiles of 8 rows, each column by column; rows that are left over stand alone. */
function tiled(matrix) {
  const { numbers, rows, columns } = matrix, whole = rows - (rows % TILE);
  const made = new Float32Array(numbers.length);
  let at = 0;
  for (let r = 0; r < whole; r += TILE) {
    for (let c = 0; c < columns; c++) {
      for (let k = 0; k < TILE; k++) made[at++] = numbers[(r + k) * columns + c];
    }
  }
  made.set(numbers.subarray(whole * columns), whole * columns);
  return { tiles: made, rows, columns };
}

/* y[from …] += W x, W in tiles. */
function product(y, from, W, x) {
  const { tiles: w, rows, columns } = W, whole = rows - (rows % TILE);
  let at = 0, r = 0;
  for (; r < whole; r += TILE) {
    let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
    for (let k = 0; k < columns; k++, at += TILE) {
      const v = x[k];
      a += w[at] * v;
      b += w[at + 1] * v;
      c += w[at + 2] * v;
      d += w[at + 3] * v;
      e += w[at + 4] * v;
      f += w[at + 5] * v;
      g += w[at + 6] * v;
      h += w[at + 7] * v;
    }
    const to = from + r;
    y[to] += a;
    y[to + 1] += b;
    y[to + 2] += c;
    y[to + 3] += d;
    y[to + 4] += e;
    y[to + 5] += f;
    y[to + 6] += g;
    y[to + 7] += h;
  }
  for (; r < rows; r++) {
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += w[at++] * x[k];
    y[from + r] += sum;
  }
}

/* The error function: its series near zero, a continued fraction beyond. */
function erf(x) {
  const a = Math.abs(x);
  if (!(a > 0)) return x;
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = x, sum = x;
    for (let k = 1; Math.abs(term) > 1e-17 * Math.abs(sum); k++) {
      term *= -x * x / k;
      sum += term / (2 * k + 1);
    }
    return sum * 2 / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (a + fraction) / Math.sqrt(Math.PI));
}

function softmax(logits) {
  let most = -Infinity, sum = 0;
  for (const one of logits) if (one > most) most = one;
  const made = Float64Array.from(logits, (one) => Math.exp(one - most));
  for (const one of made) sum += one;
  return made.map((one) => one / sum);
}
