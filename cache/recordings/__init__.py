"""The user's table of recordings, the hashes of its files, and what a catalogue says of them."""
