"""The user's table of recordings, hashes of the audio files, excerpts, quarantine, and the tables of a catalogue."""
