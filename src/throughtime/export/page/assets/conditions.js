/* Conditions: a choice or numbers for each name, as one vector. */

class Conditions {
  /* `kinds`: [name, { labels } or { mean, scale }]; `seen`: [labels of the choices, how often]. */
  constructor(spec, changed) {
    this.spec = spec;
    this.inputs = spec.kinds.map(([name, kind]) => (kind.labels
      ? h('select', { onchange: changed }, h('option', { value: '' }, 'any'),
        ...kind.labels.map((label, k) => h('option', { value: String(k) }, label)))
      : h('input', { type: 'text', inputMode: 'decimal', autocomplete: 'off', oninput: changed,
        placeholder: kind.mean.map((one) => Number(one.toPrecision(3))).join(', ') })));
    this.element = h('div', { className: 'fields' },
      ...spec.kinds.map(([name], k) => field(name, this.inputs[k])));
  }

  /* Numbers that stand for what is chosen; a choice left open is drawn as the data have it. */
  vector(seed, sample) {
    const { kinds, seen } = this.spec, made = [];
    const names = kinds.flatMap(([, kind], k) => (kind.labels ? [k] : []));
    const chosen = new Map(names.map((k) => [k, this.inputs[k].value === '' ? null : Number(this.inputs[k].value)]));
    const fitting = seen.filter(([labels]) => names.every((k, i) =>
      chosen.get(k) === null || (labels[i].length === 1 && labels[i][0] === chosen.get(k))));
    let share = chance(seed, sample, 2 ** 31) * fitting.reduce((sum, [, count]) => sum + count, 0);
    const drawn = fitting.find(([, count]) => (share -= count) < 0);
    kinds.forEach(([, kind], k) => {
      if (kind.labels) {
        const part = new Array(kind.labels.length).fill(0);
        const own = chosen.get(k) !== null ? [chosen.get(k)] : drawn ? drawn[0][names.indexOf(k)] : [];
        for (const label of own) part[label] = 1;
        made.push(...part);
      } else {
        const given = this.inputs[k].value.split(/[\s,;]+/).filter(Boolean).map(Number);
        const known = given.length === kind.mean.length && given.every(Number.isFinite);
        this.inputs[k].setAttribute('aria-invalid', String(given.length > 0 && !known));
        made.push(...kind.mean.map((mean, i) => (known ? (given[i] - mean) / kind.scale[i] : 0)));
      }
    });
    return made;
  }
}
