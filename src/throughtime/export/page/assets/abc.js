/* A tune in ABC as notes: written bars one after the other, and the order in which they are played.
   Times are in quarter notes. */

const FIFTHS = { C: 0, G: 1, D: 2, A: 3, E: 4, B: 5, F: -1 };
const MODES = { '': 0, maj: 0, ion: 0, m: -3, min: -3, aeo: -3, mix: -1, dor: -2, phr: -4, lyd: 1, loc: -5, exp: 0 };
const SEMITONES = { C: 0, D: 2, E: 4, F: 5, G: 7, A: 9, B: 11 };
const TUPLETS = { 2: 3, 3: 2, 4: 3, 6: 2, 8: 3 };
const LENGTH_OF = "(\\d*)(\\/*)(\\d*)";
const NOTE_OF = "(\\^\\^?|__?|=)?([A-Ga-g])([,']*)";
const ABC_ITEMS = [
  ['space', /^[\s`]+/], ['field', /^\[([A-Za-z]):([^\]]*)\]/],
  ['bar', /^(?::+\[?\|[|:\]]*|::+|\.?\[?\|[|:\]]*)(\d[\d,-]*)?/], ['ending', /^\[(\d[\d,-]*)/],
  ['text', /^"([^"]*)"/], ['chord', new RegExp(`^\\[([^\\]|:]*)\\]${LENGTH_OF}`)],
  ['note', new RegExp(`^${NOTE_OF}${LENGTH_OF}`)], ['rest', new RegExp(`^[zx]${LENGTH_OF}`)],
  ['rests', /^[ZX](\d*)/], ['tuplet', /^\((\d)(?::(\d*)(?::(\d*))?)?/], ['slur', /^(?:\.?\(|\))/],
  ['tie', /^\.?-/], ['broken', /^(>+|<+)/], ['grace', /^\{[^}]*\}/],
  ['decoration', /^(?:![^!\s|]+!|\+[^+\s|]+\+)/], ['other', /^[\s\S]/],
];

/* The sharps or flats of K: by letter. */
function signatureOf(value) {
  const match = /^\s*([A-G])([#b]?)\s*([A-Za-z]*)/.exec(value), made = {};
  if (!match) return made;
  const mode = match[3].toLowerCase().slice(0, 3), sign = { '#': 7, b: -7, '': 0 }[match[2]];
  const fifths = FIFTHS[match[1]] + sign + (MODES[mode in MODES ? mode : mode[0] === 'm' ? 'm' : ''] || 0);
  const order = 'FCGDAEB';
  for (let k = 0; k < Math.min(7, Math.abs(fifths)); k++) {
    made[fifths > 0 ? order[k] : order[6 - k]] = Math.sign(fifths);
  }
  return made;
}

function lengthOf(above, slashes, below) {
  const digits = below ? Number(below) * 2 ** (slashes.length - 1) : 2 ** slashes.length;
  return (above === '' ? 1 : Number(above)) / (slashes ? digits || 1 : 1);
}

class AbcVoice {
  constructor(tune) {
    Object.assign(this, { metre: tune.metre, unit: tune.unit, signature: tune.signature });
    this.bars = [];
    this.tie = new Map();
    this.open('');
  }

  open(left) {
    this.bar = { notes: [], texts: [], length: 0, left, right: '', ending: '', metre: this.metre };
    this.signs = {};
    this.tuplet = null;
    this.broken = '';
    this.last = null;
  }

  close(right) {
    if (this.bar.length) {
      this.bar.right = right;
      this.bars.push(this.bar);
      this.open(right);
    } else this.bar.left += right;
  }
}

class AbcTune {
  constructor(text) {
    Object.assign(this, { metre: '4/4', unit: null, signature: {}, tempo: null, key: 'C', title: '' });
    this.voices = new Map();
    this.voice = null;
    for (const line of text.split(/\r\n?|\n/)) this.line(line.replace(/(^|[^\\])%.*$/, '$1'));
    for (const voice of this.voices.values()) voice.close('');
  }

  line(line) {
    const match = /^([A-Za-z+]):(?![|:])(.*)$/.exec(line);
    if (match && !/[A-Ga-gxyz]/.test(match[1]) ) this.field(match[1], match[2].trim());
    else if (match && !this.started && /[A-G]/.test(match[1])) return; /* a header's book, area, … */
    else this.music(line.replace(/\\\s*$/, ''));
  }

  get started() {
    return this.voices.size > 0;
  }

  get now() {
    if (!this.voice) this.select('1');
    return this.voice;
  }

  select(name) {
    if (!this.voices.has(name)) this.voices.set(name, new AbcVoice(this));
    this.voice = this.voices.get(name);
  }

  field(letter, value) {
    const own = this.voice;
    if (letter === 'M') {
      const metre = value === 'C' ? '4/4' : value === 'C|' ? '2/2' : value;
      if (own) own.bar.metre = own.metre = metre;
      else this.metre = metre;
    } else if (letter === 'L') {
      const parts = value.split('/').map(Number), unit = parts[0] / (parts[1] || 1);
      if (unit > 0) (own || this).unit = unit;
    } else if (letter === 'K') {
      (own || this).signature = signatureOf(value);
      if (!own) this.key = value;
    } else if (letter === 'Q') {
      const match = /(\d+)\/(\d+)\s*=\s*(\d+)/.exec(value) || [null, 1, 4, (/(\d+)/.exec(value) || [])[1]];
      if (match[3]) this.tempo = this.tempo || Number(match[3]) * match[1] / match[2] * 4;
    } else if (letter === 'V') this.select(value.split(/\s+/)[0] || '1');
    else if (letter === 'T') this.title = this.title || value;
  }

  /* Quarter notes of a unit of L:. */
  quarters(voice) {
    if (voice.unit) return 4 * voice.unit;
    const [above, below] = this.metre.split('/').map(Number);
    return above / below < 0.75 ? 0.25 : 0.5;
  }

  music(line) {
    while (line) {
      for (const [kind, pattern] of ABC_ITEMS) {
        const match = pattern.exec(line);
        if (!match || !match[0]) continue;
        line = line.slice(match[0].length);
        this.item(kind, match);
        break;
      }
    }
  }

  item(kind, match) {
    const voice = this.now, unit = this.quarters(voice);
    if (kind === 'field') this.field(match[1], match[2].trim());
    else if (kind === 'bar') {
      voice.close(match[0].replace(/\d.*$/, ''));
      if (match[1]) voice.bar.ending = match[1];
    } else if (kind === 'ending') voice.bar.ending = match[1];
    else if (kind === 'text') voice.bar.texts.push({ at: voice.bar.length, text: match[1] });
    else if (kind === 'note') this.sound(voice, [this.pitch(voice, match)], unit * lengthOf(...match.slice(4, 7)));
    else if (kind === 'rest') this.sound(voice, [], unit * lengthOf(...match.slice(1, 4)));
    else if (kind === 'rests') {
      const [above, below] = voice.metre.split('/').map(Number);
      this.sound(voice, [], (Number(match[1]) || 1) * 4 * (above / below || 1));
    } else if (kind === 'chord') {
      const inside = [...match[1].matchAll(new RegExp(NOTE_OF + LENGTH_OF, 'g'))];
      const length = inside.length ? lengthOf(...inside[0].slice(4, 7)) : 1;
      this.sound(voice, inside.map((one) => this.pitch(voice, one)), unit * length * lengthOf(...match.slice(2, 5)));
      if (/-\s*$/.test(match[1])) this.item('tie', []);
    } else if (kind === 'tuplet') {
      const p = Number(match[1]), compound = Number(voice.metre.split('/')[0]) % 3 === 0 && Number(voice.metre.split('/')[0]) > 3;
      const q = Number(match[2]) || TUPLETS[p] || (compound ? 3 : 2);
      voice.tuplet = { share: q / p, left: Number(match[3]) || p };
    } else if (kind === 'broken') this.break(voice, match[1]);
    else if (kind === 'tie' && voice.last) voice.last.forEach((note) => voice.tie.set(note.pitch, note));
  }

  pitch(voice, match) {
    const [, sign, letter, marks] = match, name = letter.toUpperCase();
    if (sign) voice.signs[name] = { '^': 1, '^^': 2, _: -1, __: -2, '=': 0 }[sign];
    const raised = name in voice.signs ? voice.signs[name] : voice.signature[name] || 0;
    const octave = (letter === name ? 0 : 12) + 12 * (marks.split("'").length - marks.split(',').length);
    return 60 + SEMITONES[name] + octave + raised;
  }

  /* Notes that begin together, or a rest. */
  sound(voice, pitches, length) {
    const { bar } = voice;
    if (voice.tuplet && voice.tuplet.left > 0) {
      length *= voice.tuplet.share;
      voice.tuplet.left--;
    }
    if (voice.broken) {
      length *= voice.broken[0] === '>' ? 0.5 ** voice.broken.length : 2 - 0.5 ** voice.broken.length;
      voice.broken = '';
    }
    const made = pitches.map((pitch) => ({ pitch, start: bar.length, length, tied: voice.tie.has(pitch) }));
    if (pitches.length) voice.tie = new Map();
    bar.notes.push(...made);
    bar.length += length;
    voice.last = made;
    voice.lastLength = length;
  }

  /* a>b: the note before is longer, the one after shorter. */
  break(voice, signs) {
    if (!voice.last) return;
    const share = signs[0] === '>' ? 2 - 0.5 ** signs.length : 0.5 ** signs.length;
    for (const note of voice.last) note.length *= share;
    voice.bar.length += voice.lastLength * (share - 1);
    voice.broken = signs;
  }
}

/* The bars in the order in which they are played: repeats twice, first and second endings once. */
function played(bars) {
  const order = [], most = 20 * bars.length;
  const of = (k, pass) => Boolean(bars[k] && bars[k].ending && endings(bars[k].ending).includes(pass));
  let from = 0, pass = 1, k = 0, inside = false, jumped = false;
  while (k < bars.length && order.length < most) {
    const bar = bars[k];
    if (!jumped && bar.left.endsWith(':')) [from, pass, inside] = [k, 1, false];
    jumped = false;
    if (bar.ending && !of(k, pass)) {
      let next = k + 1; /* past the bars of another ending */
      while (next < bars.length && !bars[next].ending && !/^:|[|\]]{2}/.test(bars[next - 1].right)) next++;
      k = next;
      continue;
    }
    inside = inside || Boolean(bar.ending);
    order.push(k);
    const repeats = bar.right.startsWith(':');
    if (repeats && (inside ? of(k + 1, pass + 1) : pass === 1)) {
      [k, pass, inside, jumped] = [from, pass + 1, false, true];
      continue;
    }
    if (repeats || (inside && /[|\]]{2}/.test(bar.right))) [from, pass, inside] = [k + 1, 1, false];
    k++;
  }
  return order;
}

function endings(text) {
  return text.split(',').flatMap((part) => {
    const [a, b] = part.split('-').map(Number);
    return Array.from({ length: (b || a) - a + 1 }, (_, k) => a + k);
  });
}

/* { notes, texts, bars, length, order: [[from, to]] played, tempo, metre, key }. */
function scoreOfAbc(text) {
  const tune = new AbcTune(text), notes = [], texts = [];
  let lines = [], order = [], length = 0;
  [...tune.voices.values()].forEach((voice, number) => {
    let at = 0;
    const starts = voice.bars.map((bar) => (at += bar.length) - bar.length);
    let open = [];
    voice.bars.forEach((bar, k) => {
      for (const note of bar.notes) {
        const before = note.tied && open.find((one) => one.pitch === note.pitch &&
          Math.abs(one.start + one.length - starts[k] - note.start) < 1e-9);
        if (before) before.length += note.length;
        else {
          open = open.filter((one) => one.start + one.length > starts[k] + note.start - 1e-9);
          const made = { pitch: note.pitch, start: starts[k] + note.start, length: note.length, voice: number };
          notes.push(made);
          open.push(made);
        }
      }
      texts.push(...bar.texts.map((one) => ({ at: starts[k] + one.at, text: one.text })));
    });
    if (!number) {
      lines = starts;
      order = played(voice.bars).map((k) => [starts[k], starts[k] + voice.bars[k].length]);
    }
    length = Math.max(length, at);
  });
  const [above, below] = tune.metre.split('/').map(Number);
  const tempo = tune.tempo || (below === 8 && above % 3 === 0 ? 180 : 120);
  return { notes, texts, bars: lines, length, order, tempo, metre: tune.metre, key: tune.key, title: tune.title };
}
