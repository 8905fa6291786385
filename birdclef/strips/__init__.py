"""Strips of a fold in memory, and the crops and windows that are cut from them."""
