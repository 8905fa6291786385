"""A training batch of augmented views: from resident strips, and as most notebooks make it, from audio files.

Run: python -m benchmarks batches

The other way decodes a recording, computes the log-mel of a random five-second crop with librosa, and applies gain and
SpecAugment masks sample by sample; ours does that and mixes in background and noise, warps and stretches.
"""

import statistics
import tempfile
import time
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from benchmarks.mel import FEATURES, librosa_log_mel
from birdclef.config import TrainConfig
from birdclef.data import TrainingData
from birdclef.fold import read_fold
from cache.config import DataConfig, SplitConfig
from cache.features import build_features
from cache.split import build_split
from cache.synth import CorpusPlan, synthesize_corpus

TRAIN = TrainConfig(species_per_batch=16, recordings_per_species=2)  # 32 recordings x 2 views
REPEATS = 7


def main() -> None:
    """Print the time of both per batch of 64 views, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = synthesize_corpus(Path(folder) / "corpus", CorpusPlan(recordings=120))
        workspace = Path(folder) / "workspace"
        catalogue = build_features(DataConfig(root=str(corpus)), FEATURES, workspace)
        fold = read_fold(build_split(SplitConfig(folds=3), catalogue, workspace), 0, workspace)
        data = TrainingData(fold, TRAIN, torch.device("cpu"))
        generator = np.random.default_rng(0)
        ours, theirs = [], []
        recordings = torch.from_numpy(data.draw_batches(0)[0])
        for step in range(REPEATS):
            started = time.perf_counter()
            views = data.make_views(0, step, recordings)
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            paths = fold.train["recording_id"].iloc[recordings.repeat_interleave(2).tolist()]
            other = torch.from_numpy(np.stack([view_from_audio(corpus, name, generator) for name in paths]))
            theirs.append(time.perf_counter() - started)
    own, others = statistics.median(ours), statistics.median(theirs)
    print(f"| batch of {len(views.log_mel)} views, {tuple(other.shape[1:])} | ms |\n|---|---|")
    print(f"| resident strips, all augmentations | {1000 * own:.0f} |")
    print(f"| audio files, librosa, gain and masks only | {1000 * others:.0f} |")
    print(f"\n{others / own:.1f} times faster.")


def view_from_audio(corpus: Path, name: str, generator: np.random.Generator) -> NDArray[np.float32]:
    """Returns one augmented crop as log-mel, (n_mels, frames) in dB."""
    path = corpus / "train_audio" / name
    length = round(TRAIN.clip_seconds * soundfile.info(path).samplerate)
    samples, rate = soundfile.read(path, dtype="float32")
    samples = samples if samples.ndim == 1 else samples.mean(axis=1)
    samples = np.resize(samples, max(length, len(samples)))
    first = generator.integers(0, len(samples) - length + 1)
    crop = librosa.resample(samples[first : first + length], orig_sr=rate, target_sr=FEATURES.sample_rate)
    log_mel = librosa_log_mel(crop * 10 ** (generator.uniform(-6, 6) / 20))
    for axis, share in ((0, 0.1), (1, 0.2)):
        size = log_mel.shape[axis]
        width = generator.integers(0, int(share * size) + 1)
        start = generator.integers(0, size - width + 1)
        np.moveaxis(log_mel, axis, 0)[start : start + width] = log_mel.mean()
    return log_mel
