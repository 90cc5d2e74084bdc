/* Chance and choice, as `throughtime generate` has them. */

function mixed(word) {
  for (let k = 0; k < 2; k++) word = Math.imul((word >>> 16) ^ word, 0x45d9f3b);
  return ((word >>> 16) ^ word) >>> 0;
}

/* A number in [0, 1) that depends on these three alone. */
function chance(seed, sample, step) {
  const golden = 0x9e3779b9, high = Math.floor(seed / 2 ** 32) >>> 0;
  let first = mixed(((high ^ golden) + (seed >>> 0)) | 0);
  const words = [0, 0].map(() => {
    first = mixed((first + golden) | 0);
    return mixed((mixed((mixed((first + sample) | 0) + golden) | 0) + step) | 0);
  });
  return (words[0] * 2 ** 21 + (words[1] >>> 11)) / 2 ** 53;
}

/* What is drawn from: { temperature, top_k, top_p, min_p }; `never` are not drawn. They need not
   sum up to 1. */
function probabilities(logits, how, never) {
  let z = Float64Array.from(logits);
  for (const i of never) z[i] = -Infinity;
  let most = -Infinity;
  for (const one of z) if (one > most) most = one;
  z = z.map((one) => (one - most) / how.temperature);
  if (how.top_k > 0 && how.top_k < z.length) {
    const smallest = z.slice().sort()[z.length - how.top_k];
    z = z.map((one) => (one < smallest ? -Infinity : one));
  }
  let p = softmax(z);
  if (how.top_p < 1) {
    const order = Array.from(p.keys()).sort((a, b) => p[b] - p[a] || a - b);
    const kept = new Float64Array(p.length);
    let before = 0;
    for (const i of order) {
      if (before >= how.top_p && before > 0) break;
      kept[i] = p[i];
      before += p[i];
    }
    p = kept;
  }
  if (how.min_p > 0) {
    const least = how.min_p * p.reduce((a, b) => Math.max(a, b), 0);
    p = p.map((one) => (one < least ? 0 : one));
  }
  return p;
}

/* The most probable token that may be drawn. */
function likeliest(logits, never) {
  let best = -1;
  for (let i = 0; i < logits.length; i++) {
    if ((best < 0 || logits[i] > logits[best]) && !never.has(i)) best = i;
  }
  return best;
}

/* The token where the sum of the probabilities passes `share`. */
function draw(logits, how, never, share) {
  if (how.temperature === 0) return likeliest(logits, never);
  const p = probabilities(logits, how, never);
  let sum = 0, reached = 0, last = 0;
  for (const one of p) sum += one;
  for (let i = 0; i < p.length; i++) {
    if (p[i] <= 0) continue;
    reached += p[i];
    last = i;
    if (reached > sum * share) return i;
  }
  return last;
}
