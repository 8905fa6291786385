"""Computes features in child processes, which may crash, hang or run out of memory."""
