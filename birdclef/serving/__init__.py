"""Classifiers for new recordings, and the forms in which detections are written."""
