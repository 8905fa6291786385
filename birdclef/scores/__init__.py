"""Predictions of members read, combined and scored."""
