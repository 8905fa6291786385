"""Training and evaluation service on cached strips: augment, train, predict, ensemble, report."""
