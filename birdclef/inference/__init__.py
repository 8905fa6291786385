"""What a model says about windows, and windows combined to recordings."""
