"""Groups of recordings that stay together, and the fold of each recording."""
