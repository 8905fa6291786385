import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cache.audio.decoding import decode_waveform
from cache.audio.ogg import fix_serial
from cache.audio.vorbis import decode_vorbis

EncodeAudio = Callable[..., bytes]

RATE = 32_000
SAMPLES = 100_003
pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files in memory are Linux's")


def noise(channels: int = 1, samples: int = SAMPLES) -> NDArray[np.float64]:
    return np.random.default_rng(channels).normal(0, 0.1, (samples, channels))


def encode(samples: NDArray[np.float64], rate: int = RATE, subtype: str = "VORBIS") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="OGG", subtype=subtype)
    return fix_serial(stream.getvalue(), 1)


def decode_with_libsndfile(audio: bytes) -> tuple[NDArray[np.float32], int]:
    """Returns samples, (channels, samples), and their rate."""
    samples, rate = soundfile.read(io.BytesIO(audio), dtype="float32", always_2d=True)
    return samples.T, rate


def assert_is_libsndfiles(decoded: tuple[NDArray[np.float32], int], audio: bytes) -> None:
    expected, rate = decode_with_libsndfile(audio)
    assert decoded[1] == rate
    np.testing.assert_allclose(decoded[0], expected, rtol=0, atol=1e-6 * max(1.0, np.abs(expected).max()))


AUDIO = encode(noise())


@pytest.mark.parametrize("rate", [8_000, 22_050, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [32_768, SAMPLES])
def test_samples_are_libsndfiles(samples: int, channels: int, rate: int) -> None:
    audio = encode(noise(channels, samples), rate)
    decoded = decode_vorbis(audio)
    assert decoded is not None
    assert decoded[0].shape == (channels, samples)
    assert decoded[0].dtype == np.float32
    assert_is_libsndfiles(decoded, audio)


def test_six_channels_are_libsndfiles_in_another_order() -> None:
    audio = encode(noise(6))
    decoded = decode_vorbis(audio)
    assert decoded is not None
    expected, _ = decode_with_libsndfile(audio)
    distances = np.abs(decoded[0][:, np.newaxis] - expected).max(axis=2)  # (channels, channels)
    assert sorted(distances.argmin(axis=1)) == list(range(6))
    assert distances.min(axis=1).max() < 1e-6


def test_waveform_is_decoded_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("soundfile.read")
    assert len(decode_waveform(AUDIO, RATE)) == SAMPLES


def test_waveform_is_the_same_where_there_are_no_files_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = decode_waveform(AUDIO, RATE)
    monkeypatch.setattr("cache.audio.vorbis.HAS_MEMORY_FILES", False)
    assert decode_vorbis(AUDIO) is None
    np.testing.assert_allclose(decode_waveform(AUDIO, RATE), waveform, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["no bytes", "text", "page only", "WAV", "FLAC", "Opus"])
def test_what_is_not_ogg_vorbis_is_left_to_libsndfile(name: str, encode_audio: EncodeAudio) -> None:
    audio = {
        "no bytes": b"",
        "text": b"this is not audio" * 100,
        "page only": AUDIO[:58],
        "WAV": encode_audio(noise(), RATE),
        "FLAC": encode_audio(noise(), RATE, "FLAC"),
        "Opus": encode(noise(samples=48_000), 48_000, "OPUS"),
    }[name]
    assert decode_vorbis(audio) is None


def flip(audio: bytes, place: int) -> bytes:
    return audio[:place] + bytes([audio[place] ^ 0x10]) + audio[place + 1 :]


@pytest.mark.parametrize(
    "damaged",
    [
        AUDIO[: len(AUDIO) // 2],
        AUDIO[: len(AUDIO) // 3] + AUDIO[len(AUDIO) // 2 :],
        flip(AUDIO, len(AUDIO) // 2),
        flip(AUDIO, AUDIO.rfind(b"OggS") + 8),
        AUDIO + fix_serial(AUDIO, 2),
        AUDIO + fix_serial(encode(noise(2, 2 * SAMPLES)), 2),
        AUDIO + fix_serial(encode(noise(1, 2 * SAMPLES), 22_050), 2),
        b"x" + AUDIO,
    ],
    ids=[
        "cut off",
        "hole",
        "flipped bit",
        "other length stated",
        "chained",
        "chained to stereo",
        "chained to another rate",
        "junk in front",
    ],
)
def test_damaged_file_is_left_to_others(damaged: bytes) -> None:
    assert decode_vorbis(damaged) is None


def test_file_that_ends_a_page_early_is_libsndfiles() -> None:
    audio = AUDIO[: AUDIO.rfind(b"OggS")]
    decoded = decode_vorbis(audio)
    assert decoded is not None
    assert 0 < decoded[0].shape[1] < SAMPLES
    assert_is_libsndfiles(decoded, audio)


def test_file_of_a_page_is_left_to_libsndfile_which_knows_where_it_ends() -> None:
    audio = encode(noise(samples=100))
    assert decode_vorbis(audio) is None
    assert len(decode_waveform(audio, RATE)) == 100


@settings(deadline=None, max_examples=150)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(AUDIO) - 1), st.integers(0, 600), st.binary(max_size=600)), max_size=4
    )
)
def test_any_change_of_a_file_leaves_it_to_libsndfile_or_gives_what_libsndfile_gives(
    changes: list[tuple[int, int, bytes]],
) -> None:
    audio = AUDIO
    for place, removed, put in changes:
        audio = audio[:place] + put + audio[place + removed :]
    decoded = decode_vorbis(audio)
    if decoded is not None:
        assert_is_libsndfiles(decoded, audio)


def test_length_that_the_bytes_cannot_hold_takes_no_memory() -> None:
    page = AUDIO.rfind(b"OggS")
    stating = AUDIO[: page + 6] + (1 << 60).to_bytes(8, "little") + AUDIO[page + 14 :]
    assert decode_vorbis(stating) is None


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors there")
def test_no_file_stays_open() -> None:
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    for audio in (AUDIO, AUDIO[: len(AUDIO) // 2], AUDIO[:60] + bytes(500)):
        decode_vorbis(audio)
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
