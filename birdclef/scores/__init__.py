"""Reads, combines and scores the predictions of members."""
