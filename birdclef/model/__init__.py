"""The network, its pretrained weights, and a trained run on disk."""
