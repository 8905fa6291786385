"""Shipped descriptions of embedding models."""
