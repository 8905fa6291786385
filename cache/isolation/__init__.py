"""Child processes that a recording may end or block, forked by a server that has imported everything."""
