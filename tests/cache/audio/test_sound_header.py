"""Samples behind a header that states no size are held against those behind the right one, for each encoding."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from cache.audio.decoding import decode_waveform
from cache.audio.sound_header import read_extended
from cache.audio.streaming import stream_waveform

RATE = 16_000
SOUND = np.random.default_rng(0).integers(-8000, 8000, RATE + 1).astype(np.int16)


def encode(file_format: str, subtype: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, SOUND, RATE, format=file_format, subtype=subtype)
    return stream.getvalue()


def change(audio: bytes, name: bytes, offset: int, form: str, value: int) -> bytes:
    """Returns a file with another number behind the first occurrence of a chunk's name."""
    changed = bytearray(audio)
    struct.pack_into(form, changed, audio.index(name) + offset, value)
    return bytes(changed)


def hear(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns what training and what prediction hears of a file."""
    return decode_waveform(path.read_bytes(), RATE), np.concatenate(list(stream_waveform(path, RATE)))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW", "MS_ADPCM", "IMA_ADPCM"])
def test_encodings_of_wav_without_size_are_read_as_with_it(subtype: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encode("WAV", subtype))
    (tmp_path / "b").write_bytes(change(encode("WAV", subtype), b"data", 4, "<I", 0))
    right, _ = hear(tmp_path / "a")
    for heard in hear(tmp_path / "b"):
        np.testing.assert_array_equal(heard[: len(right)], right)
        assert len(heard) - len(right) < 2 * RATE // 10  # WAV may fill up its last block


@pytest.mark.parametrize(
    ("subtype", "compression"),
    [("PCM_S8", b""), ("PCM_24", b""), ("PCM_32", b""), ("FLOAT", b"FL32"), ("DOUBLE", b"FL64"), ("ULAW", b"ulaw")],
)
def test_encodings_of_aiff_without_size_are_read_as_with_it(subtype: str, compression: bytes, tmp_path: Path) -> None:
    audio = encode("AIFF", subtype)
    assert compression in audio
    (tmp_path / "a").write_bytes(audio)
    (tmp_path / "b").write_bytes(change(change(audio, b"SSND", 4, ">I", 8), b"COMM", 10, ">I", 0))
    right, _ = hear(tmp_path / "a")
    for heard in hear(tmp_path / "b"):
        np.testing.assert_array_equal(heard, right)


def test_little_endian_aiff_without_size_is_read(tmp_path: Path) -> None:
    comm = struct.pack(">HIH", 1, 0, 16) + struct.pack(">HQ", 16_383 + 13, RATE << (63 - 13)) + b"sowt\0\0"
    chunks = b"AIFC" + b"FVER" + struct.pack(">II", 4, 0xA2805140) + b"COMM" + struct.pack(">I", len(comm)) + comm
    chunks += b"SSND" + struct.pack(">III", 8, 0, 0) + SOUND.tobytes()
    (tmp_path / "a").write_bytes(b"FORM" + struct.pack(">I", len(chunks)) + chunks)
    for heard in hear(tmp_path / "a"):
        np.testing.assert_array_equal(heard, SOUND / np.float32(32_768))


@pytest.mark.parametrize(
    ("number", "value"),
    # the values that the sample rates of AIFF files have in Apple's document of 1989
    [("400eac44000000000000", 44_100), ("400ebb80000000000000", 48_000), ("400cfa00000000000000", 16_000)],
)
def test_number_of_eighty_bits_is_read(number: str, value: int) -> None:
    assert read_extended(bytes.fromhex(number)) == value
