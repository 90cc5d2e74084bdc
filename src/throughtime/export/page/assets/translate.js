/* The page of a translator: greedy, with what it looked at. */

class TranslatingPage {
  constructor(model, spec) {
    Object.assign(this, { model, spec, source: new Vocabulary(spec.vocabulary), target: new Vocabulary(spec.target) });
    this.never = new Set(spec.never);
    this.area = h('textarea', { lang: '', spellcheck: false, autocomplete: 'off', oninput: settled(() => this.show()) });
    this.made = h('div', { className: 'said', lang: '', role: 'status' });
    this.table = h('div', { className: 'scroll', tabIndex: 0, role: 'group', 'aria-label': 'Which words it looked at' });
    this.show();
  }

  get element() {
    return h('div', { className: 'stack' },
      h('section', { className: 'card' }, field('Source, a sentence a line', this.area)),
      h('section', { className: 'card' }, h('h2', {}, 'Translation'), this.made,
        h('p', { className: 'quiet' }, 'The most probable token each time.')),
      this.model.writer.attention
        ? h('section', { className: 'card' }, h('h2', {}, 'What it looked at, last line'), this.table) : '');
  }

  show() {
    const lines = this.area.value.split('\n').filter((line) => line.trim());
    if (!lines.length) {
      this.made.replaceChildren(h('span', { className: 'quiet' }, 'Nothing to translate yet.'));
      this.table.replaceChildren();
      return;
    }
    const texts = lines.map((line) => this.line(line));
    this.made.textContent = texts.join('\n');
  }

  line(line) {
    const ids = this.source.encode(line), decoder = new Decoder(this.target);
    const most = this.spec.most + 2 * ids.length;
    const found = new Translating(this.model, ids).greedy(this.spec.opening[0], most, this.spec.eos, this.never);
    const words = found.filter(([id]) => id !== this.spec.eos);
    this.align(ids, found);
    return words.map(([id]) => decoder.push(id)).join('') + decoder.close();
  }

  align(ids, found) {
    const head = ids.map((id) => h('th', { scope: 'col' }, visible(this.source.label(id))));
    const rows = found.map(([id, shares]) => h('tr', {}, h('th', { scope: 'row' }, visible(this.target.label(id))),
      ...shares.map((share) => {
        const cell = h('td', {}, share >= 0.1 ? String(Math.round(100 * share)) : '');
        cell.style.background = `color-mix(in srgb, var(--accent) ${Math.round(70 * share)}%, transparent)`;
        return cell;
      })));
    this.table.replaceChildren(h('table', { className: 'align' },
      h('thead', {}, h('tr', {}, h('td', {}), ...head)), h('tbody', {}, ...rows)));
  }
}
