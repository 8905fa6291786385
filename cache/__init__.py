"""Feature cache: turns recordings into strips, a catalogue and a split."""
