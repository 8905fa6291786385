"""Strips of noise in a real store, laid out in memory, and a fold of three species built by hand."""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from birdclef.devices import gpu_lock
from birdclef.strips.fold import FoldData
from birdclef.strips.residency import ResidentStrips
from cache.config.features import LogMelConfig
from cache.store.part_writer import PartWriter
from cache.workspace.feature_directory import FeatureDirectory

N_MELS = 8
FEATURES = LogMelConfig(sample_rate=1600, n_fft=64, hop_length=100, n_mels=N_MELS, fmin=0, fmax=800)  # 16 frames/s
TRAIN = {  # recording: (species index, frames)
    "a1": (0, 70),
    "a2": (0, 32),
    "a3": (0, 9),
    "b1": (1, 40),
    "b2": (1, 31),
    "c1": (2, 100),
}
PAUSE = slice(10, 24)
"""Frames of the recordings below that hold no song."""
WITH_PAUSE = ("a1", "b1", "c1")
VALIDATION = {"a9": (0, 50), "b9": (1, 16), "c9": (2, 5)}

BesideTraining = Callable[[Callable[[], Path]], Path]
LayOut = Callable[[Sequence[NDArray[np.float16]]], ResidentStrips]


@pytest.fixture(scope="session")
def lay_out() -> LayOut:
    """Returns a function that lays strips, (frames, channels) each, one after the other."""

    def lay(strips: Sequence[NDArray[np.float16]]) -> ResidentStrips:
        lengths = [len(strip) for strip in strips]
        starts = [sum(lengths[:row]) for row in range(len(strips))]
        return ResidentStrips(
            torch.from_numpy(np.concatenate(strips).astype(np.float16)), torch.tensor(starts), torch.tensor(lengths)
        )

    return lay


@pytest.fixture(scope="session")
def strips() -> dict[str, NDArray[np.float16]]:
    """Returns the strip of each recording, (frames, n_mels) in dB, by recording."""
    generator = np.random.default_rng(11)
    drawn = {name: generator.normal(-50, 10, (frames, N_MELS)) for name, (_, frames) in {**TRAIN, **VALIDATION}.items()}
    for name in WITH_PAUSE:
        drawn[name][PAUSE.start - 2 : PAUSE.stop + 2] = -30.0  # the pause begins and ends beside song
        drawn[name][PAUSE] = generator.normal(-90, 2, drawn[name][PAUSE].shape)
    return {name: strip.clip(-100, 0).astype(np.float16) for name, strip in drawn.items()}


@pytest.fixture
def store(tmp_path: Path, strips: dict[str, NDArray[np.float16]]) -> Path:
    """Returns a feature directory with the strips in two parts, out of order."""
    directory = tmp_path / "features"
    names = sorted(strips, reverse=True)
    for part in (names[:4], names[4:]):
        writer = PartWriter(FeatureDirectory(directory), N_MELS)
        for name in part:
            writer.add_strip(f"sha-{name}", strips[name].astype(np.float32))
        writer.publish()
    return directory


@pytest.fixture
def fold_data(store: Path) -> FoldData:
    return FoldData(_side(TRAIN), _side(VALIDATION), ["ant", "bee", "cat"], FEATURES, FeatureDirectory(store))


@pytest.fixture
def beside_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> BesideTraining:
    """Returns a function that runs work while the GPU it asks for, a made-up one, is taken until it waits."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for module in ("devices.gpu_lock", "predict_recordings"):
        monkeypatch.setattr(f"birdclef.{module}.gpus_in_use", lambda accelerator, devices: ["GPU-a"])

    def run(work: Callable[[], Path]) -> Path:
        with ThreadPoolExecutor(1) as pool:
            with gpu_lock.alone_on(["GPU-a"]):
                waiting = pool.submit(work)
                deadline = time.monotonic() + 60
                while "GPU GPU-a: waits for process " not in caplog.text:
                    assert not waiting.done(), "it did not wait"
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            return waiting.result()

    return run


def _side(recordings: dict[str, tuple[int, int]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "recording_id": list(recordings),
            "label_index": [label for label, _ in recordings.values()],
            "sha256": [f"sha-{name}" for name in recordings],
            "secondary_labels": "",
        }
    )
