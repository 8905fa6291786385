"""The training loop and what it needs: batches, objective, optimiser, memory."""
