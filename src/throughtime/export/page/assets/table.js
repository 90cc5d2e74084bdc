/* Numbers as they are pasted, and pads to draw them on. */

/* Rows of numbers from lines: commas, semicolons, tabs or spaces between. A line of names first is
   passed over. { rows, wrong: what is no row, or '' }. */
function numbersOf(text, columns) {
  const rows = [];
  let wrong = '';
  text.split('\n').forEach((line, k) => {
    const parts = line.trim().split(/[\s,;]+/).filter(Boolean), given = parts.map(Number);
    if (!parts.length || (!rows.length && !k && parts.some((one) => Number.isNaN(Number(one))))) return;
    if (given.length !== columns || !given.every(Number.isFinite)) {
      wrong = wrong || `Line ${k + 1}: expected ${columns} ${columns === 1 ? 'number' : 'numbers'}, got ${line.trim().slice(0, 40)}`;
    } else rows.push(given);
  });
  return { rows, wrong };
}

function written(value) {
  return String(Number(value.toPrecision(5)));
}

const PAINTED = 6; /* columns beyond which squares are painted */

/* A canvas on which lines, one for each of a few columns, or squares of many are drawn. */
class Pad {
  /* `ranges`: [least, most] of each column; `changed` is called with the rows. */
  constructor(ranges, columns, changed) {
    Object.assign(this, { ranges, columns, changed, painted: ranges.length > PAINTED, rows: [], column: 0 });
    this.canvas = h('canvas', { className: 'pad', width: 640, height: this.painted ? 480 : 200, 'aria-hidden': 'true' });
    this.steps = number(this.painted ? ranges.length : 60, 1, 2000, 1);
    this.steps.addEventListener('change', () => this.clear());
    this.ink = number(written(ranges[0][1]), -1e9, 1e9, 'any');
    this.which = h('select', { onchange: () => { this.column = Number(this.which.value); } },
      ...columns.map((name, k) => h('option', { value: String(k) }, name)));
    const events = { pointerdown: (e) => this.begin(e), pointermove: (e) => this.move(e), pointerup: () => this.end(), pointercancel: () => this.end() };
    for (const [name, act] of Object.entries(events)) this.canvas.addEventListener(name, act);
    this.element = h('details', { className: 'card' }, h('summary', {}, 'Draw it'), this.canvas,
      h('div', { className: 'fields bar' }, field('Steps', this.steps),
        this.painted ? field('Ink', this.ink) : columns.length > 1 ? field('Column', this.which) : '',
        h('button', { type: 'button', onclick: () => { this.clear(); this.changed(this.rows); } }, 'Clear')));
    this.element.addEventListener('toggle', () => this.draw());
    this.clear();
  }

  clear() {
    const blank = this.ranges.map(([least, most]) => (this.painted ? least : (least + most) / 2));
    this.rows = Array.from({ length: Math.round(valueOf(this.steps)) }, () => blank.slice());
    this.draw();
  }

  begin(event) {
    this.down = true;
    this.before = null;
    this.canvas.setPointerCapture(event.pointerId);
    this.move(event);
  }

  move(event) {
    if (!this.down) return;
    const box = this.canvas.getBoundingClientRect();
    const x = Math.min(0.9999, Math.max(0, (event.clientX - box.left) / box.width));
    const y = Math.min(0.9999, Math.max(0, (event.clientY - box.top) / box.height));
    const T = this.rows.length;
    if (this.painted) this.paint(Math.floor(y * T), Math.floor(x * this.ranges.length));
    else {
      const [least, most] = this.ranges[this.column], to = Math.floor(x * T), value = most - y * (most - least);
      const from = this.before || [to, value];
      for (let t = Math.min(from[0], to); t <= Math.max(from[0], to); t++) {
        const share = to === from[0] ? 1 : (t - from[0]) / (to - from[0]);
        this.rows[t][this.column] = from[1] + share * (value - from[1]);
      }
      this.before = [to, value];
    }
    this.draw();
  }

  paint(row, column) {
    for (const [dr, dc] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      if (this.rows[row + dr] && column + dc < this.ranges.length) this.rows[row + dr][column + dc] = valueOf(this.ink);
    }
  }

  end() {
    if (!this.down) return;
    this.down = false;
    this.changed(this.rows);
  }

  draw() {
    const context = this.canvas.getContext('2d'), { width, height } = this.canvas, T = this.rows.length;
    const style = getComputedStyle(document.body), ink = style.getPropertyValue('--accent').trim() || 'teal';
    context.clearRect(0, 0, width, height);
    this.ranges.forEach(([least, most], k) => {
      const share = (row) => (row[k] - least) / (most - least || 1);
      if (this.painted) {
        this.rows.forEach((row, t) => {
          context.globalAlpha = Math.min(1, Math.max(0, share(row)));
          context.fillStyle = ink;
          const x = Math.round(k * width / this.ranges.length), y = Math.round(t * height / T);
          const right = Math.round((k + 1) * width / this.ranges.length), below = Math.round((t + 1) * height / T);
          context.fillRect(x, y, right - x, below - y);
        });
        context.globalAlpha = 1;
        return;
      }
      context.strokeStyle = k === this.column ? ink : style.color;
      context.lineWidth = 3;
      context.beginPath();
      this.rows.forEach((row, t) => context.lineTo((t + 0.5) * width / T, height * (1 - share(row))));
      context.stroke();
    });
  }
}

/* Of each column what a pad spans: what training had, three deviations around its mean; columns that
   are painted share one range, from 0 where that is below what they are. */
function rangesOf(model, size) {
  const { mean, deviation } = model.spec.inputs;
  if (mean === null) return Array.from({ length: size }, () => [-3, 3]);
  const m = model.vector(mean), d = model.vector(deviation);
  if (size > PAINTED) {
    const least = m.every((one) => one >= 0) ? 0 : Math.min(...m.map((one, k) => one - 2 * d[k]));
    return Array.from(m, () => [least, Math.max(...m.map((one, k) => one + 1.5 * d[k]))]);
  }
  return Array.from(m, (one, k) => [one - 3 * d[k], one + 3 * d[k]]);
}
