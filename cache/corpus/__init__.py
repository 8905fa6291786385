"""Makes the recordings of the generated corpus: species, their songs, recordists and places."""
