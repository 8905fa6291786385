"""Descriptions of embedding models."""
