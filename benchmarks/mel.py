"""Waveform to log-mel: this cache's front end against librosa's, in one process and on the same waveforms.

Run: python -m benchmarks mel
"""

import statistics
import time
from collections.abc import Callable

import librosa
import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.page import Page, format_table, publish
from cache.config.features import LogMelConfig
from cache.front_end.log_mel import compute_log_mel

SECONDS = 60
REPEATS = 7
FEATURES = LogMelConfig()


def main(context: typer.Context, page: Page = None) -> None:
    """Print the time of both per minute of audio, their ratio, and how far they are apart."""
    generator = np.random.default_rng(0)
    waveform = generator.normal(0, 0.05, SECONDS * FEATURES.sample_rate).astype(np.float32)
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(measure(lambda: compute_log_mel(waveform, FEATURES)))
        theirs.append(measure(lambda: librosa_log_mel(waveform)))
    apart = np.abs(compute_log_mel(waveform, FEATURES) - librosa_log_mel(waveform).T).max()
    own, other = statistics.median(ours), statistics.median(theirs)
    table = format_table(
        ["log-mel of one minute at 32 kHz", "ms"],
        [
            ["compute_log_mel of this package", f"{1000 * own:.0f}"],
            ["librosa.feature.melspectrogram + power_to_db", f"{1000 * other:.0f}"],
        ],
    )
    publish(context, "mel", f"{table}\n\n{other / own:.2f} times faster, at most {apart:.5f} dB apart.", page)


def librosa_log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns what most notebooks compute, (n_mels, frames) in dB."""
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=FEATURES.sample_rate,
        n_fft=FEATURES.n_fft,
        hop_length=FEATURES.hop_length,
        n_mels=FEATURES.n_mels,
        fmin=FEATURES.fmin,
        fmax=FEATURES.fmax,
        pad_mode="constant",
    )
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)


def measure(call: Callable[[], object]) -> float:
    """Returns the seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
