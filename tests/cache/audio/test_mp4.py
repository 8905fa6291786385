import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray

from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.audio.mp4 import joined_files
from cache.audio.streaming import stream_waveform

Encode = Callable[..., bytes]
RATE = 32_000


def noise(seconds: float) -> NDArray[np.float32]:
    """Noise in one channel, (1, samples)."""
    return np.random.default_rng(1).normal(0, 0.1, (1, round(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("ipod", "alac"), ("mov", "pcm_s24le")])
def test_files_that_were_joined_are_read_one_after_the_other(
    container: str, codec: str, encode_by_ffmpeg: Encode, tmp_path: Path
) -> None:
    one, two = (encode_by_ffmpeg(noise(seconds), RATE, container, codec) for seconds in (1.5, 2.0))
    alone = np.concatenate([decode_waveform(audio, RATE) for audio in (one, two)])
    np.testing.assert_array_equal(decode_waveform(one + two, RATE), alone)
    (tmp_path / "a.m4a").write_bytes(one + two)
    np.testing.assert_allclose(np.concatenate(list(stream_waveform(tmp_path / "a.m4a", RATE))), alone, atol=2e-6)


def test_joined_file_that_does_not_decode_is_told(encode_by_ffmpeg: Encode) -> None:
    audio = encode_by_ffmpeg(noise(4.0), RATE, "ipod", "alac")
    with pytest.raises(UnusableAudioError, match=r"only the first 4\.0 s decode"):
        decode_waveform(audio + audio[:40], RATE)


FTYP = (16).to_bytes(4) + b"ftypM4A \0\0\0\0"
LONG = (1).to_bytes(4) + b"mdat" + (24).to_bytes(8) + FTYP[:8]  # a size of 64 bits; what it holds begins no file


@pytest.mark.parametrize(
    ("content", "sizes"),
    [
        (FTYP, [16]),
        (FTYP + LONG + FTYP, [40, 16]),
        (FTYP + FTYP + LONG + FTYP, [16, 40, 16]),
        (FTYP + (0).to_bytes(4) + b"mdat" + FTYP, [40]),  # this box ends with the file
        (FTYP + (3).to_bytes(4) + b"mdat" + FTYP, [40]),  # a damaged size
        (FTYP + (9999).to_bytes(4) + b"mdat" + FTYP, [40]),  # cut off
    ],
)
def test_a_file_begins_at_each_first_box(content: bytes, sizes: list[int]) -> None:
    files = [file.read() for file in map(_rewound, joined_files(io.BytesIO(content)))]
    assert [len(file) for file in files] == sizes
    assert b"".join(files) == content


def _rewound(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return file
