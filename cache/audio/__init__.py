"""Decodes audio files to waveforms."""
