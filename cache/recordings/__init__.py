"""The user's table of recordings, the hashes of the audio files, excerpts, and the tables of a catalogue."""
