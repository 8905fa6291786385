"""Child processes that bear what a recording does to them, forked by a server that has imported everything."""
