/* Notes heard: simple tones by WebAudio, a voice a timbre. */

const WAVES = ['triangle', 'sine', 'square', 'sawtooth'];
const LOUD = [0.28, 0.3, 0.1, 0.09];
const AHEAD = 0.4; /* seconds that are handed over before they sound */

class Player {
  /* `at`: called with the time of the score that sounds, null at the end. */
  constructor(at, ended) {
    Object.assign(this, { at, ended, playing: false });
  }

  play(score, tempo) {
    this.stop();
    const context = new AudioContext(), quarter = 60 / tempo;
    this.context = context;
    this.playing = true;
    const out = context.createDynamicsCompressor();
    out.connect(context.destination);
    const segments = [];
    let time = 0;
    for (const [from, to] of score.order) {
      segments.push({ from, to, time });
      time += (to - from) * quarter;
    }
    const events = segments.flatMap(({ from, to, time: began }) => score.notes
      .filter((note) => note.start >= from - 1e-9 && note.start < to - 1e-9)
      .map((note) => ({ note, time: began + (note.start - from) * quarter })))
      .sort((a, b) => a.time - b.time);
    const began = context.currentTime + 0.1;
    let next = 0;
    const tick = () => {
      if (!this.playing || this.context !== context) return;
      const now = context.currentTime - began;
      while (next < events.length && events[next].time < now + AHEAD) {
        this.tone(context, out, events[next].note, began + events[next].time, quarter);
        next++;
      }
      const here = segments.find((one) => now < one.time + (one.to - one.from) * quarter);
      if (!here) return this.stop();
      this.at(here.from + Math.max(0, now - here.time) / quarter);
      setTimeout(tick, 40);
    };
    tick();
  }

  tone(context, out, note, when, quarter) {
    const length = Math.max(0.06, note.length * quarter * 0.95), gain = context.createGain();
    const loud = LOUD[note.voice % 4] * (note.velocity || 0.8), oscillator = context.createOscillator();
    oscillator.type = note.drum ? 'square' : WAVES[note.voice % 4];
    oscillator.frequency.value = note.drum ? 90 : 440 * 2 ** ((note.pitch - 69) / 12);
    gain.gain.setValueAtTime(0, when);
    gain.gain.linearRampToValueAtTime(loud, when + 0.012);
    gain.gain.exponentialRampToValueAtTime(loud * 0.5, when + (note.drum ? 0.05 : length));
    gain.gain.linearRampToValueAtTime(0, when + (note.drum ? 0.08 : length + 0.05));
    oscillator.connect(gain).connect(out);
    oscillator.start(when);
    oscillator.stop(when + length + 0.1);
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.context.close();
    this.at(null);
    this.ended();
  }
}

/* A roll with what plays it. */
class Music {
  constructor() {
    this.roll = new Roll();
    this.player = new Player((time) => this.roll.at(time), () => { this.button.textContent = 'Play'; });
    this.button = h('button', { type: 'button', className: 'main', disabled: true, onclick: () => this.toggle() }, 'Play');
    this.tempo = number(120, 20, 400, 1);
    this.about = h('p', { className: 'quiet' });
    this.element = h('section', { className: 'card', 'aria-label': 'Music' },
      this.roll.element, h('div', { className: 'bar' }, this.button,
        h('div', { className: 'tempo' }, field('Tempo (quarters/min)', this.tempo))), this.about);
  }

  show(score) {
    this.player.stop();
    this.score = score;
    this.roll.draw(score);
    this.button.disabled = !score.notes.length;
    this.tempo.value = Math.round(score.tempo);
    const bars = score.bars.length ? `, ${score.bars.length} bars` : '';
    this.about.textContent = score.notes.length
      ? `${score.notes.length} notes${bars}${score.metre ? `, metre ${score.metre}` : ''}${score.key ? `, key ${score.key}` : ''}` : '';
  }

  toggle() {
    if (this.player.playing) {
      this.player.stop();
      return;
    }
    this.button.textContent = 'Stop playing';
    this.player.play(this.score, valueOf(this.tempo));
  }
}
