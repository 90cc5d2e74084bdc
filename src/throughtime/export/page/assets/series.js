/* The page of a model that reads numbers: a label, numbers or a tag of each step. */

class Series {
  constructor(model, spec) {
    Object.assign(this, { model, spec, size: model.spec.inputs.size });
    this.columns = spec.columns.length === this.size ? spec.columns
      : Array.from({ length: this.size }, (_, k) => `number ${k + 1}`);
    const act = settled(() => this.show());
    this.area = h('textarea', { spellcheck: false, autocomplete: 'off', oninput: act, placeholder: this.example() });
    this.note = h('p', { className: 'status', role: 'status' });
    this.pad = new Pad(rangesOf(model, this.size), this.columns, (rows) => {
      this.area.value = rows.map((row) => row.map(written).join(', ')).join('\n');
      this.show();
    });
    this.shares = spec.says === 'label' && new Shares(spec.labels);
    this.made = h('div', { className: 'scroll', tabIndex: 0, role: 'group', 'aria-label': 'Result' });
    this.show();
  }

  example() {
    const ranges = rangesOf(this.model, Math.min(this.size, 6));
    return `${ranges.slice(0, 6).map(([a, b]) => written((a + b) / 2)).join(', ')}${this.size > 6 ? ', …' : ''}\n…`;
  }

  get element() {
    const heads = { label: 'Label', numbers: 'Numbers', tag: 'Tags' };
    const order = this.size === 1 ? '' : `: ${this.columns.slice(0, 8).join(', ')}${this.size > 8 ? ', …' : ''}`;
    return h('div', { className: 'columns' },
      h('div', { className: 'stack' },
        h('section', { className: 'card' }, field(`Numbers, a step a line${order}`, this.area), this.note), this.pad.element),
      h('section', { className: 'card' }, h('h2', {}, heads[this.spec.says]), this.shares ? this.shares.element : this.made));
  }

  show() {
    const { rows, wrong } = numbersOf(this.area.value, this.size), { longest, says } = this.spec;
    const cut = longest && rows.length > longest ? rows.slice(0, longest) : rows;
    this.note.textContent = wrong || (rows.length ? `${rows.length} steps` : '');
    this.note.classList.toggle('wrong', Boolean(wrong));
    if (says === 'label') this.shares.show(cut.length ? softmax(this.model.result(cut)) : null);
    else if (!cut.length) this.made.replaceChildren(h('p', { className: 'quiet' }, 'Nothing to read yet.'));
    else if (says === 'numbers') this.made.replaceChildren(this.numbers(this.model.result(cut)));
    else this.made.replaceChildren(this.tags(cut));
  }

  numbers(found) {
    const { labels, quantiles } = this.spec, each = Math.max(1, quantiles.length);
    const head = quantiles.length ? [h('tr', {}, h('th', {}, ''), ...quantiles.map((q) => h('th', {}, `${100 * q} %`)))] : [];
    return h('table', {}, ...head, ...labels.map((label, k) => {
      const values = Array.from(found.slice(k * each, (k + 1) * each)).sort((a, b) => a - b);
      return h('tr', {}, h('th', {}, label), ...values.map((one) => h('td', {}, written(one))));
    }));
  }

  tags(rows) {
    const { labels } = this.spec;
    return h('table', {}, h('tr', {}, h('th', {}, 'step'), h('th', {}, 'tag')),
      ...tagsOf(this.model, rows).map((tag, t) => h('tr', {}, h('td', {}, String(t + 1)),
        h('td', {}, h('mark', { className: `k${tag % 6}` }, labels[tag])))));
  }
}
