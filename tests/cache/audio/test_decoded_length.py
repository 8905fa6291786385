"""The length that several streams of a recording tell, and lengths that no file of a size can have."""

import pytest

from cache.audio.decoded_length import Heard, is_plausible


def test_farthest_stream_tells_the_length() -> None:
    heard = Heard()
    assert heard.seconds == 0
    for seconds in (2.0, 1.0, 3.5, 3.0):
        heard.reach(seconds)
    assert heard.seconds == 3.5


@pytest.mark.parametrize(
    ("samples", "size", "plausible"),
    [
        (3_000_000, 1_000_000, True),  # 16-bit PCM
        (60 * 60 * 32_000, 60 * 60 * 72, True),  # an hour of silence as Ogg Vorbis
        (60 * 60 * 8_000, 60 * 60 * 23, True),  # and as FLAC
        ((1 << 36) - 1, 1_000_000, False),
        (1 << 60, 10_000_000, False),
    ],
)
def test_more_samples_than_silence_would_be_are_not_plausible(samples: int, size: int, plausible: bool) -> None:
    assert is_plausible(samples, size) == plausible
