"""How far a recording was decoded, which is its length in the end, whatever its header promises."""


class Heard:
    """How much of a recording was decoded, which is its length once it has ended; all its streams may share one.

    Attributes:
        seconds: By the stream that is farthest.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def reach(self, seconds: float) -> None:
        """Keep that a stream was decoded so far."""
        self.seconds = max(self.seconds, seconds)
