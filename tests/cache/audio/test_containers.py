"""First bytes as the formats' documents have them; whole files are in test_ffmpeg.py."""

from collections.abc import Callable

import numpy as np
import pytest

from cache.audio.containers import HEAD_BYTES, name_container
from cache.audio.decoding import decode_waveform

ADTS = bytes([0xFF, 0xF1, 0x50, 0x80, 0x04, 0x1F, 0xFC])  # a frame of 32 bytes: 11 bits of 4th to 6th byte


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\2\0", "mov"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "mov"),  # QuickTime without ftyp
        (b"\x1a\x45\xdf\xa3\x9f", "matroska"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "asf"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"FORM\0\0\0\0AIFC", "aiff"),
        (b"OggS\0\2", "ogg"),
        (b"#!AMR-WB\n", "amr"),
        (b"FLV\1\5", "flv"),
        (b"\0\0\1\xba\x44", "mpeg"),
        (ADTS + bytes(25) + ADTS, "aac"),
        (4 * (b"\x47" + bytes(187)) + b"\x47", "mpegts"),
        (4 * (bytes(4) + b"\x47" + bytes(187)) + b"\0", "mpegts"),  # as cameras write it
    ],
)
def test_kind_is_told_by_the_first_bytes(head: bytes, name: str) -> None:
    assert name_container(head) == name
    assert name_container(head + bytes(HEAD_BYTES - len(head))) == name


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"FORM\0\0\0\0ILBM",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"#EXTM3U\n",
        b"ffconcat version 1.0\n",
        b"v=0\no=",
        b'<?xml version="1.0"?><MPD',
        b"PK\3\4",
        b"%PDF-1.7",
        ADTS,
        ADTS + bytes(40),
        bytes(HEAD_BYTES),
        b"\x47" * 100,
        "\N{BYTE ORDER MARK}primary_label".encode("utf-16-le"),
    ],
)
def test_what_holds_no_sound_has_no_kind(head: bytes) -> None:
    assert name_container(head) is None


def test_sound_of_mpeg_layer_two_is_read(encode_by_ffmpeg: Callable[..., bytes]) -> None:
    time = np.arange(32_000) / 16_000
    source = (0.4 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    decoded = decode_waveform(encode_by_ffmpeg(source[np.newaxis], 16_000, "mp2", "mp2"), 16_000)
    spectrum = np.abs(np.fft.rfft(decoded[8000:24_000]))
    assert spectrum.argmax() == 1000  # bins of 1 Hz
    assert len(decoded) >= 32_000
