"""The user's table and the files that it names, their hashes, excerpts, quarantine, and a catalogue's tables."""
