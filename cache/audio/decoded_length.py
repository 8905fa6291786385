"""Counts the decoded seconds of a recording; a header may state a wrong length."""


class Heard:
    """Seconds of a recording that are decoded so far; at the end this is the recording's length.

    Several decoders of the same recording may share one object.

    Attributes:
        seconds: Seconds decoded by the decoder that is farthest.
        sample_rate: Sample rate of the recording itself, Hz; 0 before anything is decoded.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sample_rate = 0

    def reach(self, seconds: float) -> None:
        """Report that a decoder has come to a place in the recording, in seconds."""
        self.seconds = max(self.seconds, seconds)
