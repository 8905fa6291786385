"""Offline feature cache: recordings to log-mel strips, catalogue and split manifests."""
