"""The workspace: artefacts and their keys, publication, locks of builders, and a copy at a URL."""
