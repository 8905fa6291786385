"""Recordings that hold the same sound."""
