"""Which recordings stay together, and the fold of each."""
