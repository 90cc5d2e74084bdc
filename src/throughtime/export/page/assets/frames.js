/* The page of a model of piano rolls: it draws frames of keys, shows and plays them. */

const KEYS = 88, LOWEST = 21;

/* Notes of frames: a key that stays down is one. */
function scoreOfFrames(frames, each) {
  const notes = [], open = new Map();
  [...frames, new Array(KEYS).fill(0)].forEach((frame, t) => {
    for (let k = 0; k < KEYS; k++) {
      if (frame[k] && !open.has(k)) open.set(k, t);
      else if (!frame[k] && open.has(k)) {
        notes.push({ pitch: LOWEST + k, start: open.get(k) / each, length: (t - open.get(k)) / each, voice: 0 });
        open.delete(k);
      }
    }
  });
  const length = frames.length / each;
  return { notes, texts: [], bars: [], length, order: [[0, length]], tempo: 100, metre: '', key: '', title: '' };
}

class FramesPage {
  constructor(model, spec) {
    Object.assign(this, { model, spec, music: new Music(), frames: [], running: false });
    this.go = h('button', { type: 'button', className: 'main', onclick: () => this.write() }, 'Write');
    this.stopper = h('button', { type: 'button', disabled: true, onclick: () => { this.running = false; } }, 'Stop');
    this.clear = h('button', { type: 'button', onclick: () => this.anew() }, 'Begin anew');
    this.heat = number(1, 0, 3, 0.05);
    this.seed = number(Math.floor(Math.random() * 1e6), 0, 2 ** 53 - 1, 1);
    this.count = number(spec.length, 1, 100000, 1);
    this.status = h('p', { className: 'status', role: 'status' });
    this.anew();
  }

  get element() {
    return h('div', { className: 'stack' }, this.music.element,
      h('section', { className: 'card', 'aria-label': 'Writing' }, h('div', { className: 'fields' },
        field('Temperature', this.heat), field('Seed', this.seed), field('Frames to write', this.count)),
      h('div', { className: 'bar' }, this.go, this.stopper, this.clear), this.status));
  }

  anew() {
    this.running = false;
    this.frames = [];
    this.state = this.model.begin(null);
    this.logits = this.model.step(new Array(KEYS).fill(0), this.state);
    this.music.show(scoreOfFrames([], this.spec.each));
    this.status.textContent = 'Write begins a piece, and goes on with it.';
  }

  async write() {
    if (this.running) return;
    this.running = true;
    this.go.disabled = this.clear.disabled = true;
    this.stopper.disabled = false;
    const heat = valueOf(this.heat), seed = Math.round(valueOf(this.seed)), end = this.frames.length + valueOf(this.count);
    while (this.running && this.frames.length < end) {
      const until = performance.now() + 25;
      while (this.frames.length < end && performance.now() < until) {
        const t = this.frames.length;
        const frame = Array.from(this.logits, (z, k) => Number(heat
          ? chance(seed, k, t) < 1 / (1 + Math.exp(-z / heat)) : z > 0));
        this.frames.push(frame);
        this.logits = this.model.step(frame, this.state);
      }
      await pause();
    }
    this.running = false;
    this.go.disabled = this.clear.disabled = false;
    this.stopper.disabled = true;
    this.music.show(scoreOfFrames(this.frames, this.spec.each));
    this.status.textContent = `${this.frames.length} frames.`;
  }
}
