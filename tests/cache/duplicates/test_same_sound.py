import io
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from cache.audio.decoding import decode_waveform
from cache.config.features import LogMelConfig
from cache.corpus.song import sing
from cache.corpus.soundscape import draw_microphone, draw_site, record, render_background
from cache.corpus.species import species_table
from cache.duplicates.fingerprint import find_candidates, fingerprint_strip
from cache.duplicates.same_sound import SIMILARITY, Alignment, align_strips
from cache.front_end.log_mel import compute_log_mel

RATE = 32_000
FEATURES = LogMelConfig(sample_rate=RATE)
FPS = FEATURES.frames_per_second
TRIM_SECONDS = 1.37
NAMES = ["a/1", "a/2", "a/3", "b/1", "b/2", "b/3"]

Change = Callable[[NDArray[np.float32]], bytes]


@pytest.fixture(scope="module")
def waveforms() -> dict[str, NDArray[np.float32]]:
    """Three songs each of two birds, in front of one recordist's background and microphone."""
    rng = np.random.default_rng(11)
    site, microphone = draw_site(-45.0, rng), draw_microphone(-60.0, 0.0, rng)
    birds = dict(zip("ab", species_table(3)[::2], strict=True))
    sounds = {}
    for name in NAMES:
        song = 0.2 * sing(birds[name[0]].grammar, 8.0, RATE, rng)
        sounds[name] = record(song + render_background(site, len(song), RATE, rng), microphone, RATE, rng)
    return sounds


def strip_of(audio: bytes | NDArray[np.float32], features: LogMelConfig = FEATURES) -> NDArray[np.float32]:
    waveform = decode_waveform(audio, features.sample_rate) if isinstance(audio, bytes) else audio
    return compute_log_mel(waveform, features)


def encode(waveform: NDArray[np.float32], rate: int, file_format: str, compression: float) -> bytes:
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", rate, 1, format=file_format, compression_level=compression) as file:
        for start in range(0, len(waveform), 65_536):  # the Vorbis encoder keeps a whole write on the stack
            file.write(waveform[start : start + 65_536])
    return stream.getvalue()


def quieter(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    return waveform * np.float32(10 ** (-9 / 20))


def trimmed(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    return waveform[round(TRIM_SECONDS * RATE) :]


def at_22_khz(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    return soxr.resample(waveform, RATE, 22_050)


CHANGES: dict[str, tuple[Change, float]] = {
    "low_bit_rate_mp3": (lambda waveform: encode(waveform, RATE, "MP3", 0.7), 0.0),
    "low_bit_rate_ogg": (lambda waveform: encode(waveform, RATE, "OGG", 1.0), 0.0),
    "gain": (lambda waveform: encode(quieter(waveform), RATE, "OGG", 0.5), 0.0),
    "trimmed": (lambda waveform: encode(trimmed(waveform), RATE, "OGG", 0.5), TRIM_SECONDS),
    "resampled": (lambda waveform: encode(at_22_khz(waveform), 22_050, "OGG", 0.5), 0.0),
    "all": (lambda waveform: encode(at_22_khz(quieter(trimmed(waveform))), 22_050, "MP3", 0.5), TRIM_SECONDS),
    "excerpt": (lambda waveform: encode(waveform[67_890:][: 5 * RATE], RATE, "MP3", 0.5), 67_890 / RATE),
}


def near_duplicates(strips: dict[str, NDArray[np.float32]], features: LogMelConfig = FEATURES) -> pd.DataFrame:
    names = sorted(strips)
    fingerprints = [fingerprint_strip(strips[name], features.frames_per_second) for name in names]
    pairs = [(names[first], names[second]) for first, second in find_candidates(fingerprints)]
    aligned = [(*pair, align_strips(*(strips[name] for name in pair), features)) for pair in pairs]
    rows = [(one, other, alignment.lag_seconds) for one, other, alignment in aligned if alignment.is_near_duplicate]
    return pd.DataFrame(rows, columns=["recording_id", "other_recording_id", "lag_seconds"])


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_with_their_lag(waveforms: dict[str, NDArray[np.float32]], change: str) -> None:
    alter, lag_seconds = CHANGES[change]
    strips = {name: strip_of(waveform) for name, waveform in waveforms.items()}
    strips |= {f"{name} copy": strip_of(alter(waveform)) for name, waveform in waveforms.items()}
    found = near_duplicates(strips)
    assert list(zip(found["recording_id"], found["other_recording_id"], strict=True)) == [
        (name, f"{name} copy") for name in NAMES
    ]
    assert found["lag_seconds"].to_numpy() == pytest.approx(lag_seconds, abs=1 / FPS)


@pytest.mark.parametrize(("n_mels", "hop_length", "n_fft"), [(8, 512, 1024), (64, 1024, 2048), (256, 320, 2048)])
def test_copies_are_found_at_any_feature_configuration(
    waveforms: dict[str, NDArray[np.float32]], n_mels: int, hop_length: int, n_fft: int
) -> None:
    features = LogMelConfig(sample_rate=RATE, n_mels=n_mels, hop_length=hop_length, n_fft=n_fft)
    alter, _ = CHANGES["trimmed"]
    strips = {name: strip_of(waveform, features) for name, waveform in waveforms.items()}
    strips |= {f"{name} copy": strip_of(alter(waveforms[name]), features) for name in NAMES}
    found = near_duplicates(strips, features)
    assert list(found["other_recording_id"]) == [f"{name} copy" for name in found["recording_id"]]
    assert list(found["recording_id"]) == NAMES


def test_songs_of_one_bird_at_one_place_are_no_near_duplicates(waveforms: dict[str, NDArray[np.float32]]) -> None:
    strips = {name: strip_of(waveform) for name, waveform in waveforms.items()}
    assert near_duplicates(strips).empty
    assert max(align_strips(*pair, FEATURES).similarity for pair in combinations(strips.values(), 2)) < SIMILARITY


def test_silence_and_steady_noise_have_no_near_duplicates() -> None:
    rng = np.random.default_rng(2)
    time = np.arange(6 * RATE) / RATE
    hum = (0.2 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    strips = {f"silence {index}": np.full((400 + index, 128), -100, np.float32) for index in range(3)}
    strips |= {f"hum {index}": strip_of(hum[index:]) for index in range(3)}
    noises = [0.1 * rng.standard_normal(6 * RATE, np.float32) for _ in range(12)]
    strips |= {f"noise {index}": strip_of(noise) for index, noise in enumerate(noises)}
    pause = np.zeros(4 * RATE, np.float32)
    strips |= {
        f"noise around a pause {index}": strip_of(np.concatenate([noise[:RATE], pause, noise[RATE : 2 * RATE]]))
        for index, noise in enumerate(0.1 * rng.standard_normal((12, 2 * RATE), np.float32))
    }
    assert near_duplicates(strips).empty
    assert fingerprint_strip(strips["silence 0"], FPS).size == 0
    assert align_strips(strips["silence 0"], strips["silence 1"], FEATURES).similarity == 0


@pytest.mark.parametrize(("frames", "channels"), [(1, 128), (20, 128), (300, 1)])
def test_what_is_too_short_or_narrow_is_compared_all_the_same(frames: int, channels: int) -> None:
    strip = np.random.default_rng(4).normal(-50, 8, (frames, channels)).astype(np.float32)
    assert align_strips(strip, strip[:1], FEATURES).similarity <= 1


def test_similarity_is_that_of_a_plain_loop_over_lags() -> None:
    rng = np.random.default_rng(8)
    first = rng.normal(-50, 1, (90, 4)).astype(np.float32)
    second = first[25:80] + rng.normal(0, 0.5, (55, 4)).astype(np.float32)
    first[:, 0] -= 20  # so that all bands are far enough above the lowest level
    second[:, 0] -= 20
    details = [plain_detail(strip) for strip in (first, second)]
    best = max((plain_similarity(*details, lag), lag) for lag in range(27 - 55, 90 - 27 + 1))
    alignment = align_strips(first, second, FEATURES)
    assert best[1] == 25
    assert alignment == Alignment(25 / FPS, 55 / FPS, pytest.approx(best[0], abs=1e-3))


def plain_detail(strip: NDArray[np.float32]) -> NDArray[np.float64]:
    level = strip.astype(np.float64)
    live = np.percentile(level, 90, axis=0) > level.min() + 6
    level = np.maximum(level, np.percentile(level, 25, axis=0) - 3)
    padded = np.pad(level, ((15, 16), (0, 0)), mode="edge")
    detail = np.array([row - padded[index : index + 31].mean(axis=0) for index, row in enumerate(level)])
    detail = np.clip(detail, -8, 8)[:, live]
    return detail - detail.mean(axis=1, keepdims=True)


def plain_similarity(first: NDArray[np.float64], second: NDArray[np.float64], lag: int) -> float:
    pairs = [(first[index + lag], row) for index, row in enumerate(second) if 0 <= index + lag < len(first)]
    one, other = (np.concatenate(rows) for rows in zip(*pairs, strict=True))
    return float(one @ other / np.sqrt(one @ one * (other @ other)))


def test_bands_above_a_low_pass_do_not_count() -> None:
    rng = np.random.default_rng(9)
    strip = rng.normal(-50, 6, (400, 64)).astype(np.float32)
    low_passed = strip.copy()
    low_passed[:, 40:] = -100
    assert align_strips(strip, low_passed, FEATURES).similarity == pytest.approx(1, abs=0.01)
