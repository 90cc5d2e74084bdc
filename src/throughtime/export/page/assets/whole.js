/* What a model says of whole sequences: tags, forecasts, translations. */

/* The scores of a chain, of the most probable sequence of tags. */
function viterbi(scores, { start, transitions, end }) {
  const K = start.length, at = (from, to) => transitions[from * K + to];
  let best = scores[0].map((score, k) => score + start[k]);
  const pointers = [];
  for (const row of scores.slice(1)) {
    const pointer = new Array(K).fill(0), next = new Float64Array(K);
    for (let to = 0; to < K; to++) {
      for (let from = 1; from < K; from++) {
        if (best[from] + at(from, to) > best[pointer[to]] + at(pointer[to], to)) pointer[to] = from;
      }
      next[to] = best[pointer[to]] + at(pointer[to], to) + row[to];
    }
    pointers.push(pointer);
    best = next;
  }
  const last = best.map((score, k) => score + end[k]);
  const tags = [last.reduce((most, score, k) => (score > last[most] ? k : most), 0)];
  for (const pointer of pointers.reverse()) tags.unshift(pointer[tags[0]]);
  return tags;
}

/* The tag of each step; inputs are tokens, [token, characters] or numbers. */
function tagsOf(model, inputs) {
  if (!inputs.length) return [];
  const scores = model.each(inputs), { chain } = model.spec;
  if (!chain) return scores.map((row) => row.reduce((most, one, k) => (one > row[most] ? k : most), 0));
  return viterbi(scores, {
    start: model.vector(chain.start), end: model.vector(chain.end),
    transitions: model.rows(chain.transitions).numbers,
  });
}

/* Of a scaled window of steps [targets, observed …] and what is known [L + H], the next steps:
   [step][target][quantile]. */
function forecastOf(model, window, known) {
  const { targets: k, length: L, horizon: H, reads, anchor: kind, scaled, least, direct, quantiles } = model.spec.window;
  const each = Math.max(1, quantiles.length), ones = Array.from({ length: k }, (_, j) => j);
  const mean = ones.map((j) => window.reduce((sum, row) => sum + row[j], 0) / L);
  const scale = ones.map((j) => (scaled
    ? Math.sqrt(window.reduce((sum, row) => sum + (row[j] - mean[j]) ** 2, 0) / L + least) : 1));
  const anchor = ones.map((j) => (kind === 'last' ? window[L - 1][j] : kind === 'mean' ? mean[j] : 0));
  const y = window.map((row) => ones.map((j) => (row[j] - anchor[j]) / scale[j]));
  const state = model.begin(null);
  let a = null;
  for (let t = L - reads; t < L; t++) {
    a = model.through([...y[t], ...window[t].slice(k), ...known[t + 1]], state);
  }
  const steps = [];
  if (direct) {
    const out = model.output(Float64Array.from([...a, ...known.slice(L).flat()]));
    const moved = model.linear && ones.map((j) => apply(model.linear, y.map((row) => row[j])));
    for (let t = 0; t < H; t++) {
      steps.push(ones.map((j) => Array.from({ length: each }, (_, q) =>
        out[(t * k + j) * each + q] + (moved ? moved[j][t] : 0))));
    }
  } else {
    for (let t = 0; t < H; t++) {
      const out = model.output(a);
      steps.push(ones.map((j) => Array.from(out.subarray(j * each, (j + 1) * each))));
      if (t + 1 < H) a = model.through([...steps[t].map((one) => one[0]), ...known[L + t + 1]], state);
    }
  }
  return steps.map((step) => step.map((one, j) =>
    one.map((value) => value * scale[j] + anchor[j]).sort((p, q) => p - q)));
}

/* A source that was read, and its translation, token by token. */
class Translating {
  constructor(model, source) {
    const { writer } = model;
    Object.assign(this, { model, writer });
    const xs = source.map((token) => model.x(token, null)), finals = [];
    [this.values] = model.over(model.layers, xs, model.spec.folded, finals);
    let bridge = 0;
    this.state = writer.layers.map((layer) => layer.scans[0].first.map((first) => {
      const one = writer.bridges[bridge++], made = first.slice();
      const v = one.parts.flatMap((part) => finals[one.below].map((side) => side[part]));
      made.set(apply(one.map, joined(v)));
      return made;
    }));
    this.h = new Float64Array(writer.combine.b.length);
    this.keys = writer.attention ? this.values.map((value) => apply(writer.attention.keys, value)) : [];
  }

  /* Logits of the token after this one; `shares`: of the source's steps that it looked at. */
  step(token) {
    const { writer } = this, { numbers, columns } = writer.table;
    let x = numbers.subarray(token * columns, (token + 1) * columns);
    if (writer.feeds) x = joined([x, this.h]);
    writer.layers.forEach((layer, k) => {
      const y = advance(layer.scans[0], x, this.state[k], false);
      x = layer.adds ? y.map((one, i) => one + x[i]) : y;
    });
    if (writer.attention) x = joined([x, this.context(x)]);
    this.h = apply(writer.combine, x);
    return apply(writer.output, this.h);
  }

  context(s) {
    const { queries, v } = this.writer.attention, size = this.model.layers[this.model.layers.length - 1].size;
    this.shares = new Float64Array(0);
    if (!this.values.length) return new Float64Array(size);
    let scores;
    if (v) {
      const query = new Float64Array(v.length);
      product(query, 0, queries, s);
      scores = this.keys.map((key) => dot(v, key.map((one, i) => Math.tanh(one + query[i]))));
    } else scores = this.keys.map((key) => dot(s, key));
    this.shares = softmax(scores);
    const made = new Float64Array(size);
    this.values.forEach((value, t) => value.forEach((one, i) => { made[i] += this.shares[t] * one; }));
    return made;
  }

  /* The most probable tokens one after the other: [[token, shares of the source]], the end too. */
  greedy(first, most, end, never) {
    const made = [];
    let token = first;
    while (made.length < most && token !== end) {
      token = likeliest(this.step(token), never);
      made.push([token, Array.from(this.shares || [])]);
    }
    return made;
  }
}
