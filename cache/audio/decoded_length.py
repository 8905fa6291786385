"""The length of a recording: that which is decoded, and that which a header states, which may be wrong."""


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


def is_plausible(samples: int, size: int) -> bool:
    """Whether a file of so many bytes can hold so many samples; if not, no memory must be taken for them.

    Silence takes least: 1 byte for 1,300 samples of stereo at 48 kHz as Ogg Vorbis.
    """
    return samples <= 16_000_000 + 2_500 * size
