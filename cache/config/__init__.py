"""Typed, frozen configuration of data set, features and split."""
