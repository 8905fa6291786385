"""Files that are too long for a test to decode; test_libsndfile.py reads short ones of all kinds to their ends."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache.audio.file_view import file_size
from cache.audio.sound_chunk import find_sound

MARK = np.arange(1, 101, dtype="<i2")
LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"


@pytest.mark.parametrize("behind", [b"", LIST])
@pytest.mark.parametrize("form", ["WAV", "AIFF"])
def test_sound_beyond_four_gibibytes_is_found_to_its_end(form: str, behind: bytes, tmp_path: Path) -> None:
    size = (1 << 32) + 8_000_000  # bytes of sound; the header states them modulo 2**32
    order = "<" if form == "WAV" else ">"
    if form == "WAV":
        head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 48_000, 96_000, 2, 16)
        head += b"data" + struct.pack("<I", size % (1 << 32))
        whole = b"RIFF" + struct.pack("<I", (len(head) + size) % (1 << 32)) + head
    else:
        rate = struct.pack(">HQ", 16_383 + 15, 48_000 << (63 - 15))
        head = b"AIFFCOMM" + struct.pack(">IHIH", 18, 1, size // 2, 16) + rate
        head += b"SSND" + struct.pack(">III", (size + 8) % (1 << 32), 0, 0)
        whole = b"FORM" + struct.pack(">I", (len(head) + size) % (1 << 32)) + head
        behind = behind.replace(b"LIST\4\0\0\0", b"NAME\0\0\0\4")
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.write(whole)
        file.seek(size % (1 << 32), 1)
        file.write(MARK.tobytes())  # behind the stated end; zeros would be filler
        file.seek(len(whole) + size - 2 * len(MARK))  # a hole, which takes no space
        file.write(MARK.astype(order + "i2").tobytes() + behind)
    with path.open("rb") as content:
        sound, following = find_sound(content)
        assert following is None
        sound.seek(0)
        with soundfile.SoundFile(sound) as audio:
            assert (audio.frames, audio.samplerate, audio.channels) == (size // 2, 48_000, 1)
            audio.seek(size // 2 - len(MARK))
            np.testing.assert_array_equal(audio.read(dtype="int16"), MARK)


def test_file_of_another_kind_is_returned_as_it_is() -> None:
    for content in (io.BytesIO(b""), io.BytesIO(b"RIFF"), io.BytesIO(b"fLaC" + bytes(100)), io.BytesIO(bytes(5000))):
        assert find_sound(content) == (content, None)


def test_right_header_is_not_replaced() -> None:
    content = io.BytesIO()
    soundfile.write(content, np.zeros(1000), 32_000, format="WAV")
    assert find_sound(content) == (content, None)


@pytest.mark.parametrize(("seconds", "more"), [(0.09, 0), (0.11, 0.11)])
def test_less_than_a_tenth_of_a_second_behind_the_sound_is_filler(seconds: float, more: float) -> None:
    content = io.BytesIO()
    soundfile.write(content, np.zeros(32_000), 32_000, format="WAV")
    before = file_size(content)
    content.write(b"\1" * (2 * round(seconds * 32_000)))
    sound, _ = find_sound(content)
    assert (sound is content) == (not more)
    assert file_size(sound) == before + round(2 * more * 32_000) or sound is content
