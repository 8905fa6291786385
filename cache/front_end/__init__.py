"""Turns waveforms into strips: log-mel, or embeddings by a pretrained model."""
