"""Waveforms to strips: log-mel, or embeddings of a pretrained model."""
