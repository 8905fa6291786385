"""Descriptions of embedding models, and checks of the models' files."""
