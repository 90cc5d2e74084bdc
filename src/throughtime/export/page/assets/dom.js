/* Elements. Text becomes text nodes alone, so that nothing a model says is read as HTML. */

function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== 'list') made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

let fields = 0;

/* A label and what it is of, for a grid of fields. */
function field(text, input, wide = false) {
  input.id = input.id || `field${++fields}`;
  return h('div', { className: wide ? 'wide' : '' }, h('label', { htmlFor: input.id }, text), input);
}

function number(value, least, most, step, more = {}) {
  return h('input', { type: 'number', min: least, max: most, step, value, inputMode: 'decimal', ...more });
}

/* What a number input says, within its limits. */
function valueOf(input) {
  const given = Number(input.value);
  const least = Number(input.min), most = Number(input.max);
  return Number.isFinite(given) && input.value !== ''
    ? Math.min(most, Math.max(least, given)) : Number(input.defaultValue);
}

const NAMES = { ' ': ['␣', 'space'], '\n': ['⏎', 'new line'], '\t': ['⇥', 'tab'], '\r': ['␍', 'carriage return'] };

/* A token so that it can be seen, and as it is read out. */
function visible(text) {
  return text.replace(/[\n\t\r]|^ | $/g, (c) => NAMES[c][0]);
}

function spoken(text) {
  return NAMES[text] ? NAMES[text][1] : text;
}

function percent(share) {
  return share > 0 && share < 0.0005 ? '<0.1 %' : `${(100 * share).toFixed(1)} %`;
}

/* A row of a list of chances: what, how probable, and what a click does. */
function chanceRow(says, share, { best = false, take = null } = {}) {
  const fill = h('span', { className: 'fill' });
  fill.style.width = `${Math.min(100, 100 * share)}%`;
  const parts = [fill, h('span', { className: 'says' }, visible(says)),
    h('span', { className: 'share' }, percent(share))];
  const row = take
    ? h('button', { type: 'button', onclick: take, 'aria-label': `${spoken(says)}, ${percent(share)}` }, ...parts)
    : h('span', { className: 'one' }, ...parts);
  return h('li', { className: best ? 'best' : '' }, row);
}

/* Calls `act` once the events are over, later where it is slow. */
function settled(act) {
  let timer = 0, took = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const began = performance.now();
      act();
      took = performance.now() - began;
    }, Math.min(500, took * 2));
  };
}

function pause() {
  return new Promise((go) => setTimeout(go));
}
