/* The page of a tagger of words: lines are sentences, spans are drawn as they are typed. */

const PLACES = { M: 'I', L: 'E', U: 'S' };

/* [{ start, end, type }] of tags such as B-LOC, I-LOC, E-LOC, S-LOC, O. */
function spansOf(tags) {
  const found = [];
  let open = null;
  tags.forEach((tag, k) => {
    const [prefix, type] = tag === 'O' ? ['O', ''] : [PLACES[tag[0]] || tag[0], tag.slice(2)];
    const goes = open && (prefix === 'I' || prefix === 'E') && open.type === type;
    if (!goes) open = null;
    if (prefix !== 'O') {
      if (goes) open.end = k + 1;
      else found.push(open = { start: k, end: k + 1, type });
    }
    if (prefix === 'E' || prefix === 'S' || prefix === 'O') open = null;
  });
  return found;
}

class Tagging {
  constructor(model, spec) {
    Object.assign(this, { model, spec, words: new Vocabulary(spec.vocabulary) });
    this.letters = spec.characters && new Vocabulary(spec.characters);
    this.spans = spec.labels.every((label) => label === 'O' || /^[BIESMLU](-|$)/.test(label));
    const kinds = spec.labels.map((label) => (this.spans ? label.slice(2) : label));
    this.kinds = [...new Set(kinds.filter((kind, k) => spec.labels[k] !== 'O'))].sort();
    this.area = h('textarea', { lang: '', spellcheck: false, autocomplete: 'off', oninput: settled(() => this.show()) });
    this.made = h('div', { className: 'spans', lang: '', role: 'status', 'aria-label': 'The tagged text' });
    this.show();
  }

  get element() {
    return h('div', { className: 'stack' },
      h('section', { className: 'card' },
        field(`Text, a sentence a line${this.spans ? '' : '; words between spaces'}`, this.area),
        h('p', { className: 'quiet' }, 'Words are what stands between spaces: write punctuation apart, as training had it.')),
      h('section', { className: 'card' }, h('h2', {}, this.spans ? 'Spans' : 'Tags'), this.made));
  }

  mark(words, type) {
    const colour = `k${Math.max(0, this.kinds.indexOf(type)) % 6}`;
    return h('mark', { className: colour }, words, h('span', { className: 'tag' }, type || 'span'));
  }

  sentence(line) {
    const words = line.split(/\s+/).filter(Boolean);
    const given = words.map((word) => {
      const id = this.words.known(this.words.lowercase ? word.toLowerCase() : word);
      return this.model.spelling ? [id, this.letters.encode(word)] : id;
    });
    const tags = tagsOf(this.model, given).map((k) => this.spec.labels[k]);
    if (!this.spans) return words.flatMap((word, k) => [this.mark(word, tags[k]), ' ']);
    const parts = [];
    let at = 0;
    for (const { start, end, type } of spansOf(tags)) {
      parts.push(words.slice(at, start).join(' '), ' ', this.mark(words.slice(start, end).join(' '), type), ' ');
      at = end;
    }
    return [...parts, words.slice(at).join(' ')];
  }

  show() {
    const lines = this.area.value.split('\n');
    if (!this.area.value.trim()) {
      this.made.replaceChildren(h('p', { className: 'quiet' }, `Nothing to tag yet. It knows: ${this.kinds.join(', ')}.`));
      return;
    }
    this.made.replaceChildren(...lines.map((line) => h('div', {}, ...this.sentence(line))));
  }
}
