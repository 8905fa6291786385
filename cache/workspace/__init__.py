"""Where artefacts lie: their keys, their publication, who is at work, and a copy of them at a URL."""
