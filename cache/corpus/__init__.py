"""The generated corpus: species, their songs, recordists and places."""
