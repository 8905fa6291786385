"""GPUs and processes: locks, ranks, memory and copies to the host."""
