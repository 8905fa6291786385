"""The training loop, and its batches, objective, optimiser and memory."""
