/* Notes drawn: a piano roll, its keys named, bars and chords above. */

const PITCHES = ['C', 'C♯', 'D', 'E♭', 'E', 'F', 'F♯', 'G', 'A♭', 'A', 'B♭', 'B'];

function classOf(pitch) {
  return PITCHES[((pitch % 12) + 12) % 12];
}

function pitchName(pitch) {
  return `${classOf(pitch)}${Math.floor(pitch / 12) - 1}`;
}

class Roll {
  constructor() {
    this.element = h('div', { className: 'scroll', tabIndex: 0, role: 'group', 'aria-label': 'The notes' });
    this.draw({ notes: [], bars: [], texts: [], length: 0 });
  }

  draw(score) {
    this.score = score;
    const { notes } = score;
    if (!notes.length) {
      this.element.replaceChildren(h('p', { className: 'quiet' }, 'No note yet.'));
      return;
    }
    const low = Math.min(...notes.map((one) => one.pitch)) - 1, high = Math.max(...notes.map((one) => one.pitch)) + 1;
    const rows = high - low + 1, row = Math.max(5, Math.min(13, 300 / rows)), left = 40, top = 20;
    this.scale = Math.max(22, Math.min(48, 5000 / score.length));
    const width = left + score.length * this.scale + 8, height = top + rows * row + 4;
    const y = (pitch) => top + (high - pitch) * row;
    const made = svg('svg', { class: 'roll', width, height, viewBox: `0 0 ${width} ${height}`, role: 'img' });
    made.append(svg('title', {}, `${notes.length} notes from ${pitchName(low + 1)} to ${pitchName(high - 1)}`));
    for (let pitch = low; pitch <= high; pitch++) {
      const black = classOf(pitch).length > 1;
      made.append(svg('rect', { x: left, y: y(pitch), width: width - left, height: row, class: black ? 'black' : 'white' }));
      if (pitch % 12 === 0 || rows < 20 && !black) {
        made.append(svg('text', { x: left - 6, y: y(pitch) + row - 1.5, class: 'key', 'text-anchor': 'end' }, pitchName(pitch)));
      }
    }
    score.bars.forEach((at, k) => {
      const x = left + at * this.scale;
      made.append(svg('line', { x1: x, x2: x, y1: top, y2: height, class: 'barline' }));
      if (!score.texts.length) made.append(svg('text', { x: x + 3, y: 13, class: 'key' }, String(k + 1)));
    });
    for (const one of score.texts) made.append(svg('text', { x: left + one.at * this.scale + 2, y: 13, class: 'chord' }, one.text));
    for (const note of notes) {
      const rect = svg('rect', {
        x: left + note.start * this.scale, y: y(note.pitch) + 0.5, rx: 2,
        width: Math.max(2, note.length * this.scale - 1), height: row - 1, class: `note v${note.voice % 4}`,
      });
      rect.append(svg('title', {}, `${pitchName(note.pitch)}, ${note.length} quarter notes`));
      made.append(rect);
    }
    this.cursor = svg('line', { y1: 0, y2: height, class: 'cursor', visibility: 'hidden' });
    made.append(this.cursor);
    this.left = left;
    this.element.replaceChildren(made);
  }

  /* Where it is played; null for nowhere. */
  at(time) {
    if (!this.cursor) return;
    this.cursor.setAttribute('visibility', time === null ? 'hidden' : 'visible');
    if (time === null) return;
    const x = this.left + time * this.scale;
    this.cursor.setAttribute('x1', x);
    this.cursor.setAttribute('x2', x);
    const { scrollLeft, clientWidth } = this.element;
    if (x < scrollLeft + this.left || x > scrollLeft + clientWidth - 30) this.element.scrollLeft = x - 60;
  }
}
