"""Adds to a generated recording what is not song: distance, background and microphone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cache.corpus.difficulty import COLOUR_DB, FAR_LOW_PASS_HZ, LOW_PASS_HZ, REVERBERATION_SECONDS, TILT_DB_PER_OCTAVE

BACKGROUNDS = ("wind", "rain", "stream", "insects", "traffic")

_COLOUR_HZ = np.geomspace(60, 20_000, 22)  # frequencies at which a microphone's response is given
_SILENT_DB = -90.0
_SPECTRA: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {  # Hz, dB
    "wind": ((20, 150, 600, 2000, 16_000), (0, -2, -22, -42, -70)),
    "rain": ((20, 400, 2000, 7000, 16_000), (-30, -18, -6, 0, -4)),
    "stream": ((20, 200, 700, 2500, 6000, 16_000), (-30, -8, 0, -3, -14, -34)),
    "traffic": ((20, 60, 130, 500, 1500, 16_000), (-12, 0, -2, -16, -26, -60)),
}


@dataclass(frozen=True)
class Microphone:
    """The sound properties of a microphone and its recorder.

    Attributes:
        response_db: Response at geometrically spaced frequencies from 60 Hz to 20 kHz.
        low_pass_hz: Frequency above which the microphone records nothing.
        noise_floor_db: RMS level of the recorder's own white noise, dB re full scale.
        gain_db: Gain relative to the usual level.
    """

    response_db: tuple[float, ...]
    low_pass_hz: float
    noise_floor_db: float
    gain_db: float


@dataclass(frozen=True)
class Site:
    """The background sounds at a recordist's site.

    Attributes:
        main: Main background, one of `BACKGROUNDS`.
        other: Fainter background, another one of `BACKGROUNDS`.
        level_db: RMS level of the main background, dB re full scale.
        insect_hz: Pitch of the insects.
        insect_rate_hz: Rate of the insects' chirps.
    """

    main: str
    other: str
    level_db: float
    insect_hz: float
    insect_rate_hz: float


def draw_microphone(noise_floor_db: float, gain_db: float, rng: np.random.Generator) -> Microphone:
    """Returns a microphone with random slope, resonances and upper limit.

    Args:
        noise_floor_db: As in `Microphone`.
        gain_db: As in `Microphone`.
        rng: Source of randomness.
    """
    ripple = np.convolve(COLOUR_DB * rng.standard_normal(len(_COLOUR_HZ) + 2), (0.4, 0.8, 0.4), mode="valid")
    tilt = TILT_DB_PER_OCTAVE * rng.standard_normal() * np.log2(_COLOUR_HZ / 2000)
    low_cut = -12 * np.maximum(0, np.log2(rng.uniform(60, 300) / _COLOUR_HZ))
    response = ripple + np.clip(tilt, -12, 12) + low_cut
    return Microphone(tuple(response.tolist()), float(rng.uniform(*LOW_PASS_HZ)), noise_floor_db, gain_db)


def draw_site(level_db: float, rng: np.random.Generator) -> Site:
    """Returns a site with two different random backgrounds, and insects of a random pitch."""
    main, other = rng.choice(BACKGROUNDS, 2, replace=False)
    return Site(str(main), str(other), level_db, float(rng.uniform(3000, 8500)), float(rng.uniform(6, 30)))


def move_away(
    waveform: NDArray[np.float32], sample_rate: int, nearness: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Returns the waveform as heard from a distance: low-passed, with an echo, at the same peak level, (samples,).

    Args:
        waveform: Sound nearby, (samples,).
        sample_rate: Sample rate, Hz.
        nearness: 0: far, 1: close.
        rng: Source of randomness.
    """
    shortest, longest = REVERBERATION_SECONDS
    decay = longest + (shortest - longest) * nearness
    time = np.arange(round(decay * sample_rate)) / sample_rate
    echo = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay)
    echo *= (0.9 - 0.6 * nearness) / np.sqrt(np.square(echo).sum())  # energy relative to the direct sound
    echo[0] += 1.0
    length = scipy.fft.next_fast_len(len(waveform) + len(echo), real=True)
    spectrum = scipy.fft.rfft(waveform, length) * scipy.fft.rfft(echo.astype(np.float32), length)
    corner = FAR_LOW_PASS_HZ[0] * (FAR_LOW_PASS_HZ[1] / FAR_LOW_PASS_HZ[0]) ** nearness
    spectrum /= (1 + np.square(scipy.fft.rfftfreq(length, 1 / sample_rate) / corner)).astype(np.float32)
    heard = np.asarray(scipy.fft.irfft(spectrum, length)[: len(waveform)], np.float32)
    return heard * np.float32(np.abs(waveform).max() / max(float(np.abs(heard).max()), 1e-9))


def render_background(site: Site, samples: int, sample_rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns the sum of the site's two backgrounds at the site's level, (samples,)."""
    main = _render_kind(site.main, site, samples, sample_rate, rng)
    other = _render_kind(site.other, site, samples, sample_rate, rng)
    return np.float32(10 ** (site.level_db / 20)) * (main + np.float32(0.4) * other)


def record(
    waveform: NDArray[np.float32], microphone: Microphone, sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Returns the sound as the microphone records it, (samples,), within [-1, 1]."""
    length = scipy.fft.next_fast_len(len(waveform), real=True)
    hertz = np.geomspace(10, 24_000, 300)
    deaf_db = 36 * np.maximum(0, np.log2(hertz / microphone.low_pass_hz))
    level_db = np.interp(np.log(hertz), np.log(_COLOUR_HZ), microphone.response_db) - deaf_db + microphone.gain_db
    spectrum = scipy.fft.rfft(waveform, length) * _response((hertz, level_db), length, sample_rate)
    recorded = np.asarray(scipy.fft.irfft(spectrum, length)[: len(waveform)], np.float32)
    recorded += np.float32(10 ** (microphone.noise_floor_db / 20)) * rng.standard_normal(len(recorded), np.float32)
    return recorded / np.float32(max(1.0, float(np.abs(recorded).max()) / 0.97))


def _render_kind(
    kind: str, site: Site, samples: int, sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Returns one background with RMS 1, (samples,)."""
    if kind == "insects":
        width = site.insect_hz * np.array((0.5, 0.93, 1.0, 1.07, 1.6))
        noise = _shape_noise((tuple(width), (-60.0, -12.0, 0.0, -12.0, -60.0)), samples, sample_rate, rng)
        time = np.arange(samples, dtype=np.float32) * np.float32(2 * np.pi * site.insect_rate_hz / sample_rate)
        noise *= np.maximum(0, np.sin(time))
    else:
        noise = _shape_noise(_SPECTRA[kind], samples, sample_rate, rng)
    if kind == "wind":
        noise *= _gusts(samples, sample_rate, rng)
    if kind == "rain":
        drops = rng.integers(0, samples, round(25 * samples / sample_rate))
        noise[drops] += rng.exponential(12, len(drops)).astype(np.float32) * np.sqrt(np.square(noise).mean())
    return noise / np.float32(np.sqrt(np.square(noise).mean()) + 1e-9)


def _gusts(samples: int, sample_rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    knots = np.exp(0.8 * rng.standard_normal(2 + round(1.5 * samples / sample_rate)))
    return np.interp(np.linspace(0, 1, samples), np.linspace(0, 1, len(knots)), knots).astype(np.float32)


def _shape_noise(
    spectrum_db: tuple[tuple[float, ...], tuple[float, ...]], samples: int, sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Returns Gaussian noise with a power spectrum (Hz, dB; straight lines over log frequency), (samples,)."""
    length = scipy.fft.next_fast_len(samples, real=True)
    spectrum = rng.standard_normal((1 + length // 2, 2), np.float32).view(np.complex64)[:, 0]  # (1 + length // 2,)
    spectrum *= _response(spectrum_db, length, sample_rate)
    return np.asarray(scipy.fft.irfft(spectrum, length)[:samples], np.float32)


def _response(
    knots: tuple[Sequence[float] | NDArray[np.float64], Sequence[float] | NDArray[np.float64]],
    length: int,
    sample_rate: int,
) -> NDArray[np.float32]:
    """Returns the amplitude at each frequency of a spectrum, (1 + length // 2,).

    Args:
        knots: Frequencies in Hz and their levels in dB; straight lines over log frequency, silence outside.
        length: Number of samples that the spectrum belongs to.
        sample_rate: Sample rate, Hz.
    """
    hertz = np.geomspace(10, 24_000, 600)
    level_db = np.interp(np.log(hertz), np.log(knots[0]), knots[1], left=_SILENT_DB, right=_SILENT_DB)
    frequency = np.arange(1 + length // 2) * (sample_rate / length)
    return np.asarray(np.interp(frequency, hertz, 10 ** (level_db / 20)), np.float32)
