/* What the outline of a model computes: layers of cells, maps, pooling, conditions. */

class Model {
  /* `spec` tells the parts, `bytes` are the weights; `CELLS` the stages that were printed. */
  constructor(spec, bytes) {
    const memory = new Map();
    const once = (key, make) => {
      if (!memory.has(key)) memory.set(key, make());
      return memory.get(key);
    };
    this.rows = (id) => once('r' + id, () => stored(bytes, spec.arrays[id]));
    this.tiles = (id) => once('t' + id, () => tiled(stored(bytes, spec.arrays[id])));
    this.vector = (id) => once('v' + id, () => Float64Array.from(this.rows(id).numbers));
    this.spec = spec;
    this.layers = spec.layers.map((layer) => this.layer(layer));
    this.scans = this.layers.flatMap((layer) => layer.scans);
    this.outputs = spec.outputs.map((one) => this.map(one));
    const { inputs, condition, window, spelling, writer } = spec;
    if (window && window.linear) this.linear = this.map(window.linear);
    if (spelling) this.spelling = this.characters(spelling);
    if (writer) this.writer = this.written(writer);
    if (inputs.embed) this.embed = this.map(inputs.embed);
    if (condition) {
      this.condition = this.map(condition.embed);
      this.fromCondition = condition.first && this.map(condition.first);
    }
  }

  map(one) {
    return { W: this.tiles(one.W), b: this.vector(one.b), then: one.then };
  }

  layer(layer) {
    const scans = layer.scans.map((scan) => this.scan(scan));
    const size = scans.reduce((sum, scan) => sum + scan.size, 0);
    return { scans, size, adds: layer.adds };
  }

  scan(spec) {
    const n = spec.n;
    const padded = (id, size) => {
      const made = new Float64Array(size);
      if (id !== null) made.set(this.vector(id));
      return made;
    };
    const bias = new Float64Array(spec.slots * n);
    for (const [at, id] of spec.bias) bias.set(this.vector(id), at);
    return {
      ...spec,
      bias,
      stages: CELLS[spec.cell],
      z: new Float64Array(spec.slots * n),
      v: spec.values.reduce((made, k) => Object.assign(made, { [k]: new Float64Array(n) }), {}),
      p: spec.vectors.map((id) => padded(id, n)),
      first: spec.first.map((id) => padded(id, n)),
      inputs: spec.inputs.map(([at, id]) => [at, this.tiles(id)]),
      products: spec.products.map((some) => some.map(([at, k, id]) => [at, k, this.tiles(id)])),
    };
  }

  characters(spec) {
    return {
      ...spec,
      table: this.rows(spec.table),
      layer: spec.layer && this.layer(spec.layer),
      convolution: spec.convolution && this.map(spec.convolution),
    };
  }

  written(spec) {
    const { keys, queries, v } = spec.attention || {};
    return {
      table: this.rows(spec.table),
      layers: spec.layers.map((layer) => this.layer(layer)),
      bridges: spec.bridges.map((one) => ({ ...one, map: this.map(one.map) })),
      attention: spec.attention && {
        keys: this.map(keys), queries: queries === null ? null : this.tiles(queries),
        v: v === null ? null : this.vector(v),
      },
      combine: this.map(spec.combine),
      output: this.map(spec.output),
      feeds: spec.feeds,
    };
  }

  /* ---- steps ---- */

  /* Before the first step; `v` are the numbers of a condition. */
  begin(v) {
    const state = this.scans.map((scan) => scan.first.map((part) => part.slice()));
    state.e = null;
    if (this.condition && v) {
      state.e = apply(this.condition, v);
      if (this.fromCondition) {
        const all = apply(this.fromCondition, state.e);
        let at = 0;
        this.scans.forEach((scan, k) => scan.states.forEach((size, part) => {
          state[k][part].set(all.subarray(at, at + size));
          at += size;
        }));
      }
    }
    return state;
  }

  copy(state) {
    const made = state.map((parts) => parts.map((part) => part.slice()));
    made.e = state.e;
    return made;
  }

  /* What the first layer reads of a token or of numbers. */
  x(given, e) {
    const { inputs, condition } = this.spec;
    let x;
    if (inputs.table !== undefined) {
      const [token, letters] = this.spelling ? given : [given, null];
      const { numbers, columns } = this.rows(inputs.table);
      x = numbers.subarray(token * columns, (token + 1) * columns);
      if (letters) x = joined([x, this.spelled(letters)]);
    } else {
      x = Float64Array.from(given);
      if (inputs.mean !== null) {
        const mean = this.vector(inputs.mean), deviation = this.vector(inputs.deviation);
        x = x.map((number, i) => (number - mean[i]) / deviation[i]);
      }
      if (this.embed) x = apply(this.embed, x);
    }
    return condition && condition.joins ? joined([x, e]) : x;
  }

  /* What stands for a word's characters. */
  spelled(letters) {
    const { table, layer, convolution, around, size } = this.spelling, C = table.columns;
    const rows = letters.map((one) => table.numbers.subarray(one * C, (one + 1) * C));
    if (!rows.length) return new Float64Array(size);
    if (layer) return this.over([layer], rows, false)[1];
    const none = new Float64Array(C), [before, after] = around;
    const found = rows.map((_, t) => apply(convolution, joined(
      Array.from({ length: before + after + 1 }, (_, k) => rows[t + k - before] || none))));
    return found.reduce((most, one) => most.map((value, i) => Math.max(value, one[i])));
  }

  /* y<t> of the last layer. */
  read(given, state) {
    return this.through(this.x(given, state.e), state);
  }

  /* The same of what the first layer reads. */
  through(x, state) {
    for (let k = 0; k < this.layers.length; k++) {
      const layer = this.layers[k];
      const y = advance(layer.scans[0], x, state[k], this.spec.folded && k === 0);
      x = layer.adds ? y.map((one, i) => one + x[i]) : y;
    }
    return x;
  }

  /* What the last map gives after one more input. */
  step(given, state) {
    return this.output(this.read(given, state));
  }

  output(y) {
    for (const one of this.outputs) y = apply(one, y);
    return y;
  }

  /* ---- whole sequences ---- */

  /* [y<t>] of any layers, in one direction or both, and the last layer's final ones; `states`
     receives the final states, layer by layer and side by side. */
  over(layers, xs, folded, states = []) {
    let final = new Float64Array(0);
    layers.forEach((layer, number) => {
      const finals = [], kept = [];
      states.push(kept);
      const sides = layer.scans.map((scan, d) => {
        const state = scan.first.map((part) => part.slice());
        const order = d ? xs.slice().reverse() : xs;
        const ys = order.map((x) => advance(scan, x, state, folded && number === 0).slice());
        finals.push(state[0].slice(0, scan.size));
        kept.push(state.map((part, k) => part.slice(0, scan.states[k])));
        return d ? ys.reverse() : ys;
      });
      const ys = xs.map((_, t) => joined(sides.map((side) => side[t])));
      xs = layer.adds ? ys.map((y, t) => y.map((one, i) => one + xs[t][i])) : ys;
      final = joined(finals);
    });
    return [xs, final];
  }

  /* What the last map gives of a whole sequence. */
  result(inputs) {
    const xs = Array.from(inputs, (given) => this.x(given, null));
    const [ys, final] = this.over(this.layers, xs, this.spec.folded);
    return this.output(this.pooled(ys, final));
  }

  /* The scores of every step. */
  each(inputs) {
    const xs = Array.from(inputs, (given) => this.x(given, null));
    return this.over(this.layers, xs, this.spec.folded)[0].map((y) => this.output(y));
  }

  pooled(ys, final) {
    const pool = this.spec.pooling;
    if (pool.kind === 'last') return final;
    const made = new Float64Array(final.length);
    if (!ys.length) return made;
    if (pool.kind === 'max') {
      return made.map((_, i) => ys.reduce((most, y) => Math.max(most, y[i]), -Infinity));
    }
    let shares = new Float64Array(ys.length).fill(1 / ys.length);
    if (pool.kind !== 'mean') {
      const keys = this.map(pool.keys), query = this.vector(pool.query);
      shares = softmax(ys.map((y) => dot(query, apply(keys, y))));
    }
    return made.map((_, i) => ys.reduce((sum, y, t) => sum + shares[t] * y[i], 0));
  }
}

/* One step of a scan; the state is written where it is read. */
function advance(scan, x, state, folded) {
  const { n, z, v, p } = scan;
  z.set(scan.bias);
  if (folded) {
    for (let i = 0; i < x.length; i++) z[i] += x[i];
  } else {
    for (const [at, W] of scan.inputs) product(z, at, W, x);
  }
  if (scan.direct >= 0) z.set(x, scan.direct * n);
  for (let k = 0; k < scan.stages.length; k++) {
    for (const [at, operand, W] of scan.products[k]) {
      product(z, at, W, operand < state.length ? state[operand] : v[operand]);
    }
    if (scan.stages[k]) scan.stages[k](n, z, state, v, p, scan.q);
  }
  return state[0].subarray(0, scan.size);
}

/* then(W x + b). */
function apply(one, x) {
  const y = one.b.slice();
  product(y, 0, one.W, x);
  if (one.then === 'relu') return y.map((value) => Math.max(value, 0));
  return one.then === 'tanh' ? y.map(Math.tanh) : y;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function joined(parts) {
  if (parts.length === 1) return parts[0];
  const made = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}
