import io

import numpy as np
import pytest
import soundfile

from cache.audio.joined_file import begins_file, find_file, find_signature

SOUND = np.random.default_rng(0).normal(0, 0.1, 16_000)


def encode(file_format: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, SOUND, 16_000, format=file_format)
    return stream.getvalue()


@pytest.mark.parametrize("file_format", ["FLAC", "OGG", "WAV", "RF64", "AIFF", "CAF", "MP3"])
@pytest.mark.parametrize("front", [0, 1000, (1 << 20) - 4])
def test_place_of_a_file_behind_other_bytes_is_found(file_format: str, front: int) -> None:
    content = io.BytesIO(bytes(front) + encode(file_format) + encode("WAV"))
    assert find_file(content, 0) == front
    assert begins_file(content, front)
    assert not begins_file(content, front + 1)


def test_sound_without_another_file_has_none() -> None:
    content = io.BytesIO(encode("FLAC"))
    assert find_file(content, 1) is None
    assert find_signature(content, 0) == 0
    assert find_signature(io.BytesIO(encode("MP3")), 0) is None
