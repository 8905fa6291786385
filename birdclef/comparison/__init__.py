"""Objectives and reports held against each other."""
