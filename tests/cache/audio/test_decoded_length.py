"""The length that several streams of a recording tell."""

from cache.audio.decoded_length import Heard


def test_farthest_stream_tells_the_length() -> None:
    heard = Heard()
    assert heard.seconds == 0
    for seconds in (2.0, 1.0, 3.5, 3.0):
        heard.reach(seconds)
    assert heard.seconds == 3.5
