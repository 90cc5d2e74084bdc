/* The page of a model that labels a text, as it is typed. */

const MOST_LABELS = 30;

class Classifying {
  constructor(model, spec) {
    Object.assign(this, { model, spec, vocabulary: new Vocabulary(spec.vocabulary) });
    this.shares = new Shares(spec.labels);
    this.note = h('p', { className: 'status' });
    this.area = h('textarea', {
      lang: '', spellcheck: false, autocomplete: 'off', oninput: settled(() => this.show()),
    });
    this.show();
  }

  get element() {
    return h('div', { className: 'columns' },
      h('section', { className: 'card' }, field('Text', this.area), this.note),
      h('section', { className: 'card' }, h('h2', {}, 'Label'), this.shares.element));
  }

  show() {
    const text = this.area.value;
    let ids = this.vocabulary.encode(text);
    const { longest } = this.spec, unknown = ids.filter((id) => id === UNK).length;
    const cut = longest && ids.length > longest;
    if (cut) ids = ids.slice(0, longest);
    this.note.textContent = [
      text && `${ids.length} tokens`, unknown && `${unknown} of them unknown`,
      cut && `read up to token ${longest}, as in training`].filter(Boolean).join(', ');
    this.shares.show(text ? softmax(this.model.result(ids)) : null);
  }
}

/* Labels with how probable they are. */
class Shares {
  constructor(labels) {
    this.labels = labels;
    this.list = h('ol', { className: 'chances' });
    this.said = h('p', { className: 'hidden', role: 'status' });
    this.empty = h('p', { className: 'quiet' }, 'Nothing to label yet.');
    this.element = h('div', {}, this.empty, this.list, this.said);
  }

  show(p) {
    this.empty.hidden = Boolean(p);
    if (!p) {
      this.list.replaceChildren();
      this.said.textContent = '';
      return;
    }
    const order = Array.from(p.keys()).sort((a, b) => p[b] - p[a]).slice(0, MOST_LABELS);
    this.list.replaceChildren(...order.map((k, place) => chanceRow(this.labels[k], p[k], { best: !place })));
    this.said.textContent = `${this.labels[order[0]]}, ${percent(p[order[0]])}`;
  }
}
