"""Contrastive losses and logit adjustment."""
