/* Text to tokens and back: the vocabulary of the model. */

const PAD = 0, UNK = 1, BOS = 2, EOS = 3;
const SPECIALS = ['<pad>', '<unk>', '<bos>', '<eos>'];
const SPACE = '\\p{White_Space}', LETTER = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';
const WORDS = new RegExp(`[${LETTER}]+|[^${LETTER}${SPACE}]+`, 'gu');
const BETWEEN = new RegExp(`[${SPACE}]+`, 'u');
const PIECES = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+` +
  `|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`, 'gu');
const UTF8 = new TextEncoder();

/* What `tokens` of the file holds for each level: characters or words; for subwords the symbols of
   bytes; for bytes nothing. */
class Vocabulary {
  constructor(spec) {
    Object.assign(this, { level: spec.level, lowercase: spec.lowercase, joins: spec.joins });
    this.atSpaces = spec.at_spaces;
    this.written = spec.specials || [];
    this.bytes = null;
    if (this.level === 'byte' || this.level === 'subword') {
      const symbols = byteSymbols();
      const value = new Map(symbols.map((symbol, i) => [symbol, i]));
      const tokens = this.level === 'byte' ? symbols : spec.tokens;
      this.bytes = [...SPECIALS.map(() => new Uint8Array(0)),
        ...tokens.map((token) => Uint8Array.from(Array.from(token), (c) => value.get(c)))];
      this.ids = new Map(tokens.map((token, i) => [token, i + 4]));
      this.symbols = symbols;
      this.names = [...SPECIALS, ...tokens];
    } else {
      this.names = [...SPECIALS, ...spec.tokens];
      this.ids = new Map([...this.written.map((name) => [name, SPECIALS.indexOf(name)]),
        ...spec.tokens.map((token, i) => [token, i + 4])]);
    }
    if (this.level === 'subword') this.merges = mergesOf(spec, this.ids);
    this.pieces = new Map();
  }

  get size() {
    return this.names.length;
  }

  /* Ids of a text; with `lines`, <eos> in place of each line's end. */
  encode(text, lines = false) {
    if (this.level === 'byte') {
      return Array.from(UTF8.encode(text), (b) => (lines && b === 10 ? EOS : b + 4));
    }
    if (this.lowercase) text = text.toLowerCase();
    if (this.level === 'char') {
      return Array.from(text, (c) => (lines && c === '\n' ? EOS : this.known(c)));
    }
    if (!lines) return this.line(text);
    if (this.level === 'word') text = text.replace(/\r\n?/g, '\n');
    const ids = [], parts = text.split('\n');
    parts.forEach((part, k) => {
      ids.push(...this.line(part));
      if (k < parts.length - 1) ids.push(EOS);
    });
    return ids;
  }

  known(token) {
    const id = this.ids.get(token);
    return id === undefined ? UNK : id;
  }

  line(text) {
    if (this.level === 'word') return this.words(text).map((word) => this.known(word));
    const ids = [];
    for (const line of text.match(/[^\r\n]*(?:\r\n?|\n)|[^\r\n]+/g) || []) {
      for (const piece of line.match(PIECES) || []) ids.push(...this.merged(piece));
    }
    return ids;
  }

  /* The words of a text, as they are written. */
  words(text) {
    const found = [];
    const parts = this.written.length
      ? text.split(new RegExp(`(${this.written.join('|')})`)) : [text];
    for (const part of parts) {
      if (this.written.includes(part)) found.push(part);
      else if (this.atSpaces) found.push(...part.split(BETWEEN).filter(Boolean));
      else found.push(...(part.match(WORDS) || []));
    }
    return found;
  }

  /* The ids of a piece of text: its bytes, the pairs that were merged first merged first. */
  merged(piece) {
    if (this.pieces.has(piece)) return this.pieces.get(piece);
    const ids = Array.from(UTF8.encode(piece), (b) => this.ids.get(this.symbols[b]));
    for (;;) {
      let best = null, at = -1;
      for (let i = 0; i + 1 < ids.length; i++) {
        const merge = this.merges.get(ids[i] * 2 ** 24 + ids[i + 1]);
        if (merge && (!best || merge.rank < best.rank)) [best, at] = [merge, i];
      }
      if (!best) break;
      ids.splice(at, 2, best.id);
    }
    if (this.pieces.size < 1e5) this.pieces.set(piece, ids);
    return ids;
  }

  /* What a token says by itself; specials by name. */
  label(id) {
    if (id === PAD || id === BOS || id === EOS) return SPECIALS[id];
    if (!this.bytes) return this.level === 'char' && id === UNK ? '\ufffd' : this.names[id];
    return new TextDecoder().decode(this.bytes[id]) || this.names[id];
  }
}

/* GPT-2's table: the printable symbol that stands for each byte. */
function byteSymbols() {
  const printable = (b) => (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173;
  let other = 256;
  return Array.from({ length: 256 }, (_, b) =>
    String.fromCodePoint(printable(b) ? b : other++));
}

/* Which pairs become which token: `splits` has how long the left part of each is, in the order in
   which they were merged; `made` the tokens, where they are not those after the bytes in order. */
function mergesOf(spec, ids) {
  const made = new Map();
  spec.splits.forEach((left, rank) => {
    const id = spec.made ? spec.made[rank] : 260 + rank;
    const token = Array.from(spec.tokens[id - 4]);
    const parts = [token.slice(0, left).join(''), token.slice(left).join('')];
    const [a, b] = parts.map((part) => ids.get(part));
    made.set(a * 2 ** 24 + b, { rank, id });
  });
  return made;
}

/* Ids to text as they come: no half characters, words joined by spaces, <eos> as a new line. */
class Decoder {
  constructor(vocabulary, after = '') {
    this.vocabulary = vocabulary;
    this.utf8 = new TextDecoder();
    this.atStart = !after || new RegExp(`[${SPACE}]$`, 'u').test(after);
  }

  push(id) {
    const v = this.vocabulary;
    if (id === EOS) {
      this.atStart = true;
      return (v.bytes ? this.close() : '') + '\n';
    }
    if (id === PAD || id === BOS) return '';
    if (v.bytes) return this.utf8.decode(v.bytes[id], { stream: true });
    if (v.level === 'char') return id === UNK ? '\ufffd' : v.names[id];
    const space = this.atStart ? '' : ' ';
    this.atStart = false;
    return space + v.names[id];
  }

  close() {
    const rest = this.utf8.decode();
    this.utf8 = new TextDecoder();
    return rest;
  }
}
