"""Training batches of augmented views: from resident strips, and as most notebooks make them, from audio files.

Run: python -m benchmarks batches [DATA]

A batch is 256 crops in two augmented views each, 128 x 313. The other way is a torch DataLoader with two workers whose
items decode five seconds of a recording, compute the log-mel with librosa and mask it with torchaudio; ours also mixes
in background and noise, warps, stretches and filters the song. DATA is a folder in the BirdCLEF layout; without it, a
generated corpus.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import librosa
import numpy as np
import soundfile
import torch
import torchaudio
import typer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.mel import FEATURES, librosa_log_mel
from benchmarks.page import Page, format_table, publish
from birdclef.config.train import TrainConfig
from birdclef.strips.fold import read_fold
from birdclef.training.data import TrainingData
from cache.config.data import DataConfig
from cache.config.split import SplitConfig
from cache.features import build_features
from cache.split import build_split
from cache.synth import CorpusPlan, synthesize_corpus
from cache.workspace.workspace import Workspace

TRAIN = TrainConfig(species_per_batch=16, recordings_per_species=16)  # 256 recordings x 2 views
REPEATS = 3
WORKERS = 2


class AudioViews(Dataset[Tensor]):
    """Views of recordings made one by one from their files."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._mask_bands = torchaudio.transforms.FrequencyMasking(round(0.1 * FEATURES.n_mels))
        self._mask_frames = torchaudio.transforms.TimeMasking(62)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        """Returns one view, (1, n_mels, frames) in dB."""
        generator = np.random.default_rng(index)
        with soundfile.SoundFile(self._paths[index]) as stream:
            length = round(TRAIN.clip_seconds * stream.samplerate)
            stream.seek(int(generator.integers(0, max(stream.frames - length, 0) + 1)))
            samples, rate = stream.read(length, dtype="float32", always_2d=True).mean(axis=1), stream.samplerate
        crop = librosa.resample(np.resize(samples, length), orig_sr=rate, target_sr=FEATURES.sample_rate)
        log_mel = torch.from_numpy(librosa_log_mel(crop)).unsqueeze(0)
        masked: Tensor = self._mask_frames(self._mask_bands(log_mel))
        return masked


def main(
    context: typer.Context,
    data: Annotated[Path | None, typer.Argument(help="Folder in the BirdCLEF layout.")] = None,
    page: Page = None,
) -> None:
    """Print the time of both per batch, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        root = data or synthesize_corpus(Path(folder) / "corpus", CorpusPlan(recordings=240))
        workspace = Path(folder) / "workspace"
        catalogue = build_features(DataConfig(root=str(root)), FEATURES, Workspace(workspace))
        fold = read_fold(build_split(SplitConfig(folds=3), catalogue, Workspace(workspace)), 0, Workspace(workspace))
        training = TrainingData(fold, TRAIN, torch.device("cpu"))
        recordings = torch.from_numpy(training.draw_batches(0)[0])
        names = fold.train["recording_id"].iloc[recordings.repeat_interleave(TRAIN.views).tolist()]
        paths = [root / "train_audio" / name for name in names]
        loader = DataLoader(AudioViews(paths), batch_size=len(paths), num_workers=WORKERS, persistent_workers=True)
        ours, theirs = [], []
        for repeat in range(REPEATS + 1):
            started = time.perf_counter()
            views = training.make_views(0, repeat, recordings)
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            (other,) = list(loader)
            theirs.append(time.perf_counter() - started)
    own, others = statistics.median(ours[1:]), statistics.median(theirs[1:])  # the first starts the workers
    table = format_table(
        [f"{len(recordings)} crops x {TRAIN.views} views, {tuple(views.crops.shape[1:])}", "seconds"],
        [
            ["resident strips, all augmentations", f"{own:.2f}"],
            [f"DataLoader, {WORKERS} workers, librosa, torchaudio masks", f"{others:.2f}"],
        ],
    )
    summary = f"{others / own:.1f} times faster. The other views are {tuple(other.shape[1:])}."
    publish(context, "batches", f"{table}\n\n{summary}", page)
