/* The page of a forecast: the past is pasted or drawn, what comes next is drawn and told. */

class Forecasting {
  constructor(model, spec) {
    Object.assign(this, { model, spec, about: model.spec.window });
    const { targets, observed } = this.about;
    this.known = this.about.known - 2 * spec.calendar.length;
    this.columns = spec.columns;
    this.series = h('select', { onchange: () => this.show() },
      ...spec.series.map(([name], k) => h('option', { value: String(k) }, name)));
    const act = settled(() => this.show());
    this.area = h('textarea', { spellcheck: false, autocomplete: 'off', oninput: act });
    this.future = h('textarea', { spellcheck: false, autocomplete: 'off', oninput: act });
    this.day = h('input', { type: 'datetime-local', value: '2024-01-01T00:00', step: 1, oninput: act });
    this.note = h('p', { className: 'status', role: 'status' });
    this.made = h('div', { className: 'scroll', tabIndex: 0, role: 'group', 'aria-label': 'The forecast' });
    this.table = h('div', { className: 'scroll', tabIndex: 0, role: 'group', 'aria-label': 'The forecast in numbers' });
    this.width = targets + observed + this.known;
    if (this.width === targets) {
      const [, center, unit] = spec.series[0];
      this.pad = new Pad(center.map((c, k) => [c - 3 * unit[k], c + 3 * unit[k]]), this.columns, (rows) => {
        this.area.value = rows.map((row) => row.map(written).join(', ')).join('\n');
        this.show();
      });
      this.pad.steps.value = this.about.length;
      this.pad.clear();
    }
    this.show();
  }

  get element() {
    const { length, horizon } = this.about;
    return h('div', { className: 'stack' },
      h('section', { className: 'card stack' },
        this.spec.series.length > 1 ? field('Series', this.series) : '',
        field(`The past, a step a line, ${length} at least: ${this.columns.join(', ')}`, this.area),
        this.known ? field(`What is known of the next ${horizon} steps: ${this.columns.slice(-this.known).join(', ')}`, this.future) : '',
        this.spec.calendar.length ? field('When the first line was', this.day) : '', this.note),
      this.pad ? this.pad.element : '',
      h('section', { className: 'card' }, h('h2', {}, `The next ${horizon} steps`), this.made, this.table));
  }

  /* What is known of a step: numbers, and the calendar's sines and cosines. */
  features(row, t, first) {
    const { calendar, step, others } = this.spec, { observed } = this.about;
    const given = row.map((one, j) => (one - others[0][observed + j]) / others[1][observed + j]);
    const turns = calendar.map((period) => 2 * Math.PI * (first + t * step) / period);
    return [...given, ...turns.flatMap((turn) => [Math.sin(turn), Math.cos(turn)])];
  }

  show() {
    const { length: L, horizon: H, targets: k, observed } = this.about;
    const { rows, wrong } = numbersOf(this.area.value, this.width);
    const next = this.known ? numbersOf(this.future.value, this.known) : { rows: Array.from({ length: H }, () => []), wrong: '' };
    const began = this.spec.calendar.length ? Date.parse(`${this.day.value}Z`) / 864e5 : 0;
    const lacks = !Number.isFinite(began) ? 'When was the first line?' : rows.length < L ? `${rows.length} of ${L} steps.` : next.rows.length < H ? `${next.rows.length} of ${H} steps to come.` : '';
    this.note.textContent = wrong || next.wrong || (this.area.value.trim() ? lacks : '');
    this.note.classList.toggle('wrong', Boolean(wrong || next.wrong));
    if (wrong || next.wrong || lacks) {
      this.made.replaceChildren(h('p', { className: 'quiet' }, `It reads the last ${L} steps.`));
      this.table.replaceChildren();
      return;
    }
    const past = rows.slice(-L), [, center, unit] = this.spec.series[Number(this.series.value)];
    const first = began + (rows.length - L) * this.spec.step;
    const known = [...past.map((row) => row.slice(k + observed)), ...next.rows.slice(0, H)]
      .map((row, t) => this.features(row, t, first));
    const { others } = this.spec;
    const window = past.map((row) => [...row.slice(0, k).map((one, j) => (one - center[j]) / unit[j]),
      ...row.slice(k, k + observed).map((one, j) => (one - others[0][j]) / others[1][j])]);
    const found = forecastOf(this.model, window, known)
      .map((step) => step.map((one, j) => one.map((value) => value * unit[j] + center[j])));
    this.draw(past, found);
  }

  draw(past, found) {
    const { labels, quantiles } = this.spec, middle = Math.floor(found[0][0].length / 2);
    this.made.replaceChildren(...labels.map((label, j) => h('figure', { className: 'plot' },
      h('figcaption', {}, label), plot(past.map((row) => row[j]), found.map((step) => step[j]), middle))));
    const heads = labels.flatMap((label) => (quantiles.length ? quantiles.map((q) => `${label}, ${100 * q} %`) : [label]));
    this.table.replaceChildren(h('table', {}, h('tr', {}, h('th', {}, 'step'), ...heads.map((one) => h('th', {}, one))),
      ...found.map((step, t) => h('tr', {}, h('td', {}, `+${t + 1}`), ...step.flat().map((one) => h('td', {}, written(one)))))));
  }
}

/* A line of what was and one of what comes, with its band where there is one. */
function plot(past, next, middle) {
  const width = Math.max(260, Math.min(760, window.innerWidth - 80)), height = 220, left = 60, all = [...past, ...next.flat()];
  const least = Math.min(...all), most = Math.max(...all), T = past.length + next.length;
  const x = (t) => left + (t + 0.5) * (width - left) / T, y = (v) => 8 + (height - 24) * (1 - (v - least) / (most - least || 1));
  const line = (values, from, kind) => svg('polyline', { class: kind, points: values.map((v, t) => `${x(t + from)},${y(v)}`).join(' ') });
  const made = svg('svg', { class: 'roll', width, height, viewBox: `0 0 ${width} ${height}`, role: 'img' });
  made.append(svg('title', {}, `${past.length} steps, then ${next.length} forecast`));
  for (const value of [least, (least + most) / 2, most]) {
    made.append(svg('line', { class: 'grid', x1: left, x2: width, y1: y(value), y2: y(value) }),
      svg('text', { class: 'axis', x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, written(value)));
  }
  if (next[0].length > 1) {
    const low = next.map((one, t) => `${x(past.length + t)},${y(one[0])}`);
    const high = next.map((one, t) => `${x(past.length + t)},${y(one[one.length - 1])}`).reverse();
    made.append(svg('polygon', { class: 'band', points: [...low, ...high].join(' ') }));
  }
  made.append(line(past, 0, 'past'), line([past[past.length - 1], ...next.map((one) => one[middle])], past.length - 1, 'next'));
  return made;
}
