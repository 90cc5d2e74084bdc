/* The page of a model of the next token: it writes on, and shows what may come next. */

const SHOWN = 12;
const SLICE = 25; /* milliseconds between two looks at the page */

class Writing {
  /* `more`: { conditions: a form, changed: called with the text when it has settled }. */
  constructor(model, spec, more = {}) {
    Object.assign(this, { model, spec, more });
    this.vocabulary = new Vocabulary(spec.vocabulary);
    this.never = new Set(spec.never);
    this.reader = new Reader(model);
    this.text = new Text(spec, this.vocabulary);
    this.undone = [];
    this.running = false;
    this.sample = 0;
    this.look = settled(() => this.showChances());
    this.build();
    this.condition();
  }

  build() {
    this.area = h('textarea', {
      className: 'tall', lang: '', spellcheck: false, autocapitalize: 'off', autocomplete: 'off',
      'aria-describedby': 'keys', oninput: () => this.typed(), onkeydown: (e) => this.key(e),
      onselect: () => this.look(), onkeyup: () => this.look(), onclick: () => this.look(),
    });
    this.go = h('button', { type: 'button', className: 'main', onclick: () => this.write() }, 'Write');
    this.stopper = h('button', { type: 'button', onclick: () => this.stop(), disabled: true }, 'Stop');
    this.again = h('button', { type: 'button', onclick: () => this.another(), disabled: true }, 'Another');
    this.undoer = h('button', { type: 'button', onclick: () => this.undo(), disabled: true }, 'Undo');
    this.status = h('p', { className: 'status', role: 'status' });
    this.chances = h('ol', { className: 'chances' });
    this.where = h('p', { className: 'quiet' });
    this.draws = {
      temperature: h('input', { type: 'range', min: 0, max: 2, step: 0.05, value: 1 }),
      top_k: number(0, 0, this.vocabulary.size, 1),
      top_p: number(1, 0.01, 1, 0.01),
      min_p: number(0, 0, 1, 0.01),
      seed: number(Math.floor(Math.random() * 1e6), 0, 2 ** 53 - 1, 1),
      length: number(this.spec.length, 1, 100000, 1),
      past: h('input', { type: 'checkbox' }),
    };
    const { draws } = this;
    this.heat = h('output', {}, '1.00');
    draws.temperature.addEventListener('input', () => {
      this.heat.textContent = Number(draws.temperature.value).toFixed(2);
    });
    for (const one of Object.values(draws)) one.addEventListener('input', () => this.look());
    draws.seed.addEventListener('input', () => { this.sample = 0; });
    const heat = field('Temperature ', draws.temperature, true);
    heat.querySelector('label').append(this.heat);
    this.settings = h('details', { className: 'card', open: true }, h('summary', {}, 'How it draws'),
      h('div', { className: 'fields' }, heat, field('Top k (0: all)', draws.top_k),
        field('Top p', draws.top_p), field('Min p', draws.min_p), field('Seed', draws.seed),
        field('Tokens to write', draws.length),
        this.spec.eos === null ? '' : h('label', { className: 'check wide' }, draws.past, 'Write on past the end')));
  }

  get element() {
    const keys = h('p', { id: 'keys', className: 'quiet' },
      'Ctrl + Enter writes, Esc stops. The list shows what may come at the cursor; a click takes it, ' +
      'in place of what stands after.');
    return h('div', { className: 'columns' },
      h('div', { className: 'stack' },
        this.more.conditions ? h('section', { className: 'card', 'aria-label': 'Conditions' }, this.more.conditions.element) : '',
        h('section', { className: 'card', 'aria-label': 'Text' }, field('Text', this.area),
          h('div', { className: 'bar' }, this.go, this.stopper, this.again, this.undoer), this.status, keys),
        this.more.element || ''),
      h('div', { className: 'stack' },
        h('section', { className: 'card' }, h('h2', {}, 'What may come next'), this.where, this.chances),
        this.settings));
  }

  how() {
    const { temperature, top_k, top_p, min_p } = this.draws;
    return {
      temperature: Number(temperature.value), top_k: Math.round(valueOf(top_k)),
      top_p: valueOf(top_p), min_p: valueOf(min_p),
    };
  }

  /* What is not drawn; past the end of a sequence for a condition neither is <eos>. */
  forbidden() {
    const ends = this.draws.past.checked && this.spec.conditions;
    return ends ? new Set([...this.never, this.spec.eos]) : this.never;
  }

  /* Logits after tokens of the text. */
  after(ids) {
    if (this.reader.v !== this.text.v) this.reader.begin(this.text.v);
    return this.reader.after(ids);
  }

  /* ---- what a reader does ---- */

  /* The conditions have changed: what was typed begins anew. */
  begun() {
    this.stop();
    this.area.value = this.text.prime;
    this.typed();
  }

  condition() {
    const { conditions } = this.more;
    this.text.v = conditions ? conditions.vector(this.seed(), this.sample) : null;
  }

  seed() {
    return Math.round(valueOf(this.draws.seed));
  }

  typed() {
    this.stop();
    if (this.text.written.length) this.save();
    this.text.set(this.area.value.replace(/\r\n?/g, '\n'));
    this.sample = 0;
    this.startedFrom = null;
    this.ended = false;
    this.condition();
    this.again.disabled = true;
    const unknown = this.text.unknown();
    this.say(unknown ? `${unknown} not in the vocabulary, read as unknown.` : '');
    this.settle();
  }

  key(event) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.write();
    } else if (event.key === 'Escape' && this.running) this.stop();
  }

  say(text) {
    this.status.textContent = text;
  }

  settle() {
    this.undoer.disabled = !this.undone.length;
    this.look();
    if (this.more.changed) this.more.changed(this.text.whole);
  }

  save() {
    this.undone.push(this.text.copy());
    if (this.undone.length > 50) this.undone.shift();
  }

  undo() {
    this.stop();
    const before = this.undone.pop();
    if (!before) return;
    this.text = before;
    this.ended = false;
    this.area.value = before.whole;
    this.say('Taken back.');
    this.settle();
  }

  stop() {
    this.running = false;
  }

  /* ---- writing ---- */

  /* Goes on at the end of the text. `anew`: from where it went on before. */
  async write(anew = false) {
    if (this.running) return;
    if (this.ended && this.spec.conditions) {
      this.say('It has ended. Undo, take another token, or write Another.');
      return;
    }
    this.save();
    if (!anew) this.startedFrom = this.text.copy();
    if (this.ended) this.text.push(this.spec.eos);
    this.ended = false;
    this.running = true;
    this.busy(true);
    const began = performance.now();
    const [ended, count] = await this.grow(Math.round(valueOf(this.draws.length)));
    const seconds = (performance.now() - began) / 1000;
    this.ended = ended;
    this.running = false;
    this.busy(false);
    const from = this.text.ends[this.text.ends.length - 1 - count] || this.text.prime.length;
    const said = this.text.whole.slice(from);
    this.say(`${count} tokens, ${Math.round(said.length / seconds).toLocaleString('en')} characters a second` +
      (ended ? '; here the text ends.' : '.'));
    this.settle();
  }

  async grow(most) {
    const how = this.how(), never = this.forbidden(), seed = this.seed(), { text, spec } = this;
    const past = this.draws.past.checked;
    let logits = this.after(text.ids), count = 0, ended = false;
    while (this.running && count < most && !ended) {
      const until = performance.now() + SLICE;
      while (count < most && performance.now() < until) {
        const id = draw(logits, how, never, chance(seed, this.sample, text.position));
        if (id === spec.eos && !past) {
          ended = true;
          break;
        }
        text.push(id);
        count++;
        logits = this.reader.push(id);
      }
      this.area.value = text.whole;
      this.area.scrollTop = this.area.scrollHeight;
      await pause();
    }
    return [ended, count];
  }

  busy(is) {
    this.go.disabled = is;
    this.stopper.disabled = !is;
    this.undoer.disabled = is;
    this.again.disabled = is;
    this.area.readOnly = is;
    this.area.setAttribute('aria-busy', String(is));
  }

  /* The same beginning, drawn anew: the next sample of the seed. */
  another() {
    if (this.running || !this.startedFrom) return;
    this.save();
    this.text = this.startedFrom.copy();
    this.sample++;
    this.ended = false;
    if (!this.text.written.length) this.condition();
    this.write(true);
  }

  /* What a token is called in the list. */
  name(id) {
    if (id !== EOS) return this.vocabulary.label(id);
    return this.spec.line_ends ? '\n' : '(the end)';
  }

  take(id, place) {
    this.save();
    this.text.cut(place);
    this.ended = id === this.spec.eos && !this.spec.line_ends;
    this.startedFrom = null;
    this.again.disabled = true;
    this.text.push(id);
    this.area.value = this.text.whole;
    this.area.focus();
    this.area.setSelectionRange(this.text.whole.length, this.text.whole.length);
    this.say(`Took ${spoken(this.name(id))}.`);
    this.settle();
  }

  showChances() {
    if (this.running) return;
    const place = document.activeElement === this.area ? this.area.selectionEnd : this.text.whole.length;
    const logits = this.after(this.text.before(place)), never = this.forbidden();
    const how = this.how();
    if (how.temperature === 0) how.temperature = 1;
    const p = probabilities(logits, how, never);
    const sum = p.reduce((a, b) => a + b, 0);
    const order = Array.from(p.keys()).filter((i) => !never.has(i))
      .sort((a, b) => logits[b] - logits[a] || a - b).slice(0, SHOWN);
    this.where.textContent = place < this.text.whole.length
      ? 'At the cursor:' : this.text.whole ? 'At the end of the text:' : 'To begin with:';
    this.chances.replaceChildren(...order.map((id, k) =>
      chanceRow(this.name(id), p[id] / sum, { best: !k, take: () => this.take(id, place) })));
  }
}
