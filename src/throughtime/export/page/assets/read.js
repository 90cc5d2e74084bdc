/* What a model of the next token has read: states are kept, so that going back is cheap. */

const EVERY = 64;

class Reader {
  constructor(model) {
    this.model = model;
    this.begin(null);
  }

  /* Nothing yet, under a condition. */
  begin(v) {
    this.v = v;
    this.ids = [];
    this.state = this.model.begin(v);
    this.kept = [this.model.copy(this.state)];
    this.logits = null;
  }

  /* Logits after these tokens, one at least. */
  after(ids) {
    let same = 0;
    while (same < ids.length && same < this.ids.length && ids[same] === this.ids[same]) same++;
    if (same < this.ids.length || (same === ids.length && !this.logits)) {
      const at = Math.floor(Math.min(same, ids.length - 1) / EVERY);
      this.kept.length = at + 1;
      this.state = this.model.copy(this.kept[at]);
      this.ids = ids.slice(0, at * EVERY);
    }
    for (let t = this.ids.length; t < ids.length; t++) this.push(ids[t], t + 1 === ids.length);
    return this.logits;
  }

  /* Logits after one more token; `says`: whether they are asked for. */
  push(id, says = true) {
    const y = this.model.read(id, this.state);
    this.logits = says ? this.model.output(y) : null;
    this.ids.push(id);
    if (this.ids.length % EVERY === 0) {
      this.kept.length = this.ids.length / EVERY;
      this.kept.push(this.model.copy(this.state));
    }
    return this.logits;
  }
}

/* A text: what was typed, and the tokens written after it. */
class Text {
  constructor(spec, vocabulary) {
    this.spec = spec;
    this.vocabulary = vocabulary;
    this.v = null; /* the numbers of its condition */
    this.set('');
  }

  /* Typed by hand: it is all prime. */
  set(prime) {
    this.prime = prime;
    this.whole = prime;
    this.read = prime ? [...this.spec.opening, ...this.vocabulary.encode(prime, this.spec.line_ends)]
      : this.spec.beginning.slice();
    this.written = [];
    this.ends = [];
    this.position = 0;
    this.decoder = new Decoder(this.vocabulary, prime);
  }

  /* A token after it all. */
  push(id) {
    this.written.push(id);
    this.whole += this.decoder.push(id);
    this.ends.push(this.whole.length);
    this.position++;
  }

  get ids() {
    return [...this.read, ...this.written];
  }

  /* The tokens before a place of the text. */
  before(place) {
    if (place >= this.whole.length) return this.ids;
    if (place < this.prime.length) {
      const prime = this.prime.slice(0, place);
      return prime ? [...this.spec.opening, ...this.vocabulary.encode(prime, this.spec.line_ends)]
        : this.spec.beginning.slice();
    }
    return [...this.read, ...this.written.slice(0, this.upTo(place))];
  }

  upTo(place) {
    let count = 0;
    while (count < this.ends.length && this.ends[count] <= place) count++;
    return count;
  }

  /* Without what stands after a place. */
  cut(place) {
    if (place >= this.whole.length) return;
    if (place < this.prime.length) return this.set(this.prime.slice(0, place));
    const kept = this.written.slice(0, this.upTo(place));
    const { prime } = this;
    this.set(prime);
    for (const id of kept) this.push(id);
  }

  copy() {
    const made = new Text(this.spec, this.vocabulary);
    made.set(this.prime);
    for (const id of this.written) made.push(id);
    made.position = this.position;
    made.v = this.v;
    return made;
  }

  unknown() {
    return this.read.slice(this.spec.opening.length).filter((id) => id === UNK).length;
  }
}
