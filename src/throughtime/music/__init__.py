"""Music: ABC notation, MIDI, piano rolls, tunes, and what makes pictures and sound of them."""
