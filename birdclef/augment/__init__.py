"""Augmentation of crops on the device."""
