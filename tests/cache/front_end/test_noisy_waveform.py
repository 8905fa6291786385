"""Mixtures of sound and noise, whose ratios SciPy measures."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

from cache.config.noise import NoiseFile, NoiseMix
from cache.front_end.noisy_waveform import mix_noise, song_power

RATE = 16_000
SONG_HZ = (1000.0, 4000.0)

EncodeAudio = Callable[..., bytes]


def name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def measure_power(waveform: NDArray[np.float64]) -> float:
    """Returns the power between 1 and 4 kHz by a Butterworth filter."""
    sos = scipy.signal.butter(8, SONG_HZ, "bandpass", fs=RATE, output="sos")
    return float(np.square(scipy.signal.sosfiltfilt(sos, waveform)).mean())


@pytest.fixture
def files(tmp_path: Path, encode_audio: EncodeAudio) -> tuple[NoiseFile, ...]:
    """White noise of a second and half, and the same amid strong hum at 50 Hz, below song."""
    generator = np.random.default_rng(0)
    white = generator.normal(0, 0.02, RATE * 3 // 2)
    hum = 0.5 * np.sin(2 * np.pi * 50 * np.arange(RATE * 3 // 2) / RATE)
    found = []
    for number, sound in enumerate((white, generator.normal(0, 0.02, RATE * 3 // 2) + hum)):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(encode_audio(sound, RATE, subtype="FLOAT"))
        found.append(NoiseFile(hashlib.sha256(path.read_bytes()).hexdigest(), str(path)))
    return tuple(found)


def mix(files: tuple[NoiseFile, ...], variant: int = 1, snr_db: tuple[float, float] = (6.0, 6.0)) -> NoiseMix:
    return NoiseMix(variant=variant, background="0123456789abcdef", snr_db=snr_db, song_hz=SONG_HZ, files=files)


def sing(seed: int, seconds: float = 4.0) -> NDArray[np.float32]:
    time = np.arange(round(seconds * RATE)) / RATE
    song = 0.1 * np.sin(2 * np.pi * (2000 + 500 * np.sin(3 * time)) * time)
    return (song + np.random.default_rng(seed).normal(0, 0.001, len(time))).astype(np.float32)


def test_ratio_holds_where_song_is(files: tuple[NoiseFile, ...]) -> None:
    sound = sing(0)
    for file in files:
        mixed = mix_noise(sound, name("a"), mix((file,)), RATE)
        assert mixed.dtype == np.float32
        ratio = measure_power(sound) / measure_power(mixed.astype(np.float64) - sound)
        assert 10 * np.log10(ratio) == pytest.approx(6, abs=0.3)


def test_ratios_and_files_are_drawn_evenly(files: tuple[NoiseFile, ...]) -> None:
    sound = sing(0, 1.0)
    ratios, hums = [], []
    for number in range(300):
        added = mix_noise(sound, name(str(number)), mix(files, snr_db=(3.0, 30.0)), RATE).astype(np.float64) - sound
        ratios.append(10 * np.log10(measure_power(sound) / measure_power(added)))
        hums.append(np.square(added).mean() > 20 * measure_power(added))
    assert np.quantile(ratios, [0.05, 0.5, 0.95]) == pytest.approx([4.35, 16.5, 28.65], abs=2)
    assert np.mean(hums) == pytest.approx(0.5, abs=0.1)


def test_mixture_depends_on_recording_and_variant_only(files: tuple[NoiseFile, ...]) -> None:
    sound = sing(0)
    first = mix_noise(sound, name("a"), mix(files), RATE)
    mix_noise(sound, name("b"), mix(files), RATE)
    np.testing.assert_array_equal(mix_noise(sound, name("a"), mix(files), RATE), first)
    others = [mix_noise(sound, name("b"), mix(files), RATE), mix_noise(sound, name("a"), mix(files, variant=2), RATE)]
    assert all(np.abs(other - first).max() > 1e-3 for other in others)


def test_short_noise_is_repeated(files: tuple[NoiseFile, ...]) -> None:
    sound = sing(0)
    added = mix_noise(sound, name("a"), mix(files), RATE) - sound
    period = RATE * 3 // 2
    np.testing.assert_allclose(added[period:], added[:-period], atol=1e-6)


def test_silence_gets_no_noise(files: tuple[NoiseFile, ...]) -> None:
    silence = np.zeros(RATE, np.float32)
    np.testing.assert_array_equal(mix_noise(silence, name("a"), mix(files), RATE), silence)


@pytest.mark.parametrize("samples", [4096, 50_000, 9_000_000])
def test_power_of_a_sine_in_the_band_is_half_its_square(samples: int) -> None:
    sine = np.sin(2 * np.pi * 2000 * np.arange(samples) / RATE).astype(np.float32)
    assert song_power(sine, SONG_HZ, RATE) == pytest.approx(0.5, rel=0.05)
    assert song_power(sine, (3000.0, 4000.0), RATE) < 1e-4


def test_changed_noise_ends_the_build_and_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "0.wav").write_bytes(b"other than at the start")
    file = NoiseFile(name("at the start"), str(tmp_path / "0.wav"))
    with pytest.raises(RuntimeError, match=r"0\.wav cannot be used as background \(.*changed during the build"):
        mix_noise(sing(0), name("a"), mix((file,)), RATE)
