/* Events of MIDI (miditok's REMI, TSD and MIDI-like) as notes. Times are in quarter notes. */

/* "2.3.8": two beats and three eighths of one. */
function beatsOf(text) {
  const [beats, parts, of] = text.split('.').map(Number);
  return beats + parts / of;
}

function scoreOfEvents(words) {
  const notes = [], bars = [], sounding = new Map(), programs = [];
  let bar = 0, at = 0, program = 0, tempo = null, beats = 4, waiting = null, velocity = 80, begun = false;
  const voice = () => {
    if (!programs.includes(program)) programs.push(program);
    return programs.indexOf(program);
  };
  for (const word of words) {
    const cut = word.lastIndexOf('_'), kind = word.slice(0, cut), value = word.slice(cut + 1);
    if (kind === 'Bar') {
      if (begun) bar += beats;
      begun = true;
      at = bar;
      bars.push(bar);
    } else if (kind === 'Position') at = bar + Number(value) / 8;
    else if (kind === 'TimeShift') at += beatsOf(value);
    else if (kind === 'TimeSig') beats = 4 * Number(value.split('/')[0]) / Number(value.split('/')[1]);
    else if (kind === 'Tempo') tempo = tempo || Number(value);
    else if (kind === 'Program') program = Number(value);
    else if (kind === 'Pitch') waiting = { pitch: Number(value), start: at };
    else if (kind === 'PitchDrum') waiting = { pitch: Number(value), start: at, drum: true };
    else if (kind === 'Velocity') velocity = Number(value);
    else if (kind === 'Duration' && waiting) {
      notes.push({ ...waiting, length: beatsOf(value), voice: voice(), velocity: velocity / 127 });
      waiting = null;
    } else if (kind === 'NoteOn' || kind === 'DrumOn') {
      sounding.set(`${program} ${value}`, { pitch: Number(value), start: at, voice: voice(), drum: kind === 'DrumOn' });
    } else if (kind === 'NoteOff' || kind === 'DrumOff') {
      const note = sounding.get(`${program} ${value}`);
      sounding.delete(`${program} ${value}`);
      if (note && at > note.start) notes.push({ ...note, length: at - note.start, velocity: velocity / 127 });
    }
  }
  const length = notes.reduce((most, note) => Math.max(most, note.start + note.length), 0);
  return { notes, texts: [], bars, length, order: [[0, length]], tempo: tempo || 120, metre: '', key: '', title: '' };
}
