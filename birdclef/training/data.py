"""Training and validation data of one fold: its strips, batches of recordings, and augmented views on the device."""

import copy
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birdclef.augment.chain import Augmentation, LogMelAugmentation, build_augmentation
from birdclef.augment.mixup import mixup
from birdclef.config.augment import AugmentConfig
from birdclef.config.train import TrainConfig
from birdclef.metrics.secondary_species import IgnoredPairs, mark_secondary
from birdclef.strips.activity import ActiveCrops, frame_activity
from birdclef.strips.crops import draw_offsets, gather_crops
from birdclef.strips.fold import FoldData
from birdclef.strips.input_statistics import input_statistics
from birdclef.strips.noisy_copies import NoisyCopies
from birdclef.strips.prefetch import Batch, Prefetcher
from birdclef.strips.residency import StreamedStrips, Strips, load_strips
from birdclef.strips.windows import plan_windows
from birdclef.training.sampler import draw_batches, expected_shares
from cache.store.strip_store import StripStore

_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class Views:
    """Augmented views of a batch in random order, so that species and recordings are spread over its parts.

    Attributes:
        crops: Crops of log-mel in dB or of embeddings, (batch * views, 1, channels, frames).
        labels: label_index of each view, (batch * views,).
        targets: Class probabilities for the cross-entropy, (batch * views, classes).
        recordings: Index of each view's recording, (batch * views,).
        secondary: Which other species sing in each view's recording, (batch * views, classes) bool; None: no recording
            has a secondary label.
    """

    crops: Tensor
    labels: Tensor
    targets: Tensor
    recordings: Tensor
    secondary: Tensor | None = None


@dataclass(frozen=True)
class ValidationData:
    """Windows of the validation recordings.

    Attributes:
        strips: Strips of the recordings.
        labels: label_index of each recording, (recordings,).
        windows: Strip index and first frame of each window, (windows,) each.
        frames: Length of a window.
        ignored: Pairs of recording and secondary species, which no metric counts.
    """

    strips: Strips
    labels: Tensor
    windows: tuple[Tensor, Tensor]
    frames: int
    ignored: IgnoredPairs


def derive_seed(*parts: int) -> int:
    """Returns a 63-bit seed from integers such as (seed, epoch, step)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


class TrainingData:
    """Training strips of a fold, and the views of any batch as a function of (seed, epoch, step).

    Args:
        fold: Recordings of the fold.
        config: Settings of the member.
        device: Device that trains.
    """

    def __init__(self, fold: FoldData, config: TrainConfig, device: torch.device) -> None:
        self._config = config
        self.crop_frames = fold.features.count_frames(config.clip_seconds)
        self._device = device
        self.labels: NDArray[np.int64] = fold.train["label_index"].to_numpy(np.int64)
        self.classes = len(fold.species)
        store, sha256s = StripStore(fold.store), fold.train["sha256"].tolist()
        self.strips = load_strips(store, sha256s, device, config.residency)
        self._labels_there = torch.tensor(self.labels, device=device)
        self._one_hot = torch.eye(self.classes, device=device)
        secondary = mark_secondary(fold.train, fold.species)
        self._secondary_there = torch.from_numpy(secondary.toarray()).to(device) if secondary.nnz else None
        self.statistics = input_statistics(self.strips, config.model.normalisation)
        noise = self._load_noise(fold, store)
        self.augmentation: Augmentation = build_augmentation(
            config, fold.features, self.strips, self.statistics[0], device, noise
        )
        copies = fold.background.copies if fold.background else ()
        share = config.augment.background_probability
        self._copies = NoisyCopies.load(copies, sha256s, share, device, config.residency)
        self._active_crops: ActiveCrops | None = None
        if config.crop_choice == "active":
            activity = frame_activity(self.strips, store, sha256s, fold.features)
            self._active_crops = ActiveCrops(self.strips, activity, self.crop_frames)
        waits = isinstance(self.strips, StreamedStrips) or self.strips.place.type != device.type
        self._prefetcher = Prefetcher(self.gather, self._following) if waits else None

    def with_augmentation(self, settings: AugmentConfig) -> Self:
        """Returns the same log-mel, statistics and backgrounds with other probabilities and numbers of masks.

        Raises:
            TypeError: If the strips are embeddings.
        """
        if not isinstance(self.augmentation, LogMelAugmentation):
            raise TypeError("Only the augmentation of log-mel can be replaced.")
        other = copy.copy(self)
        other._config = self._config.model_copy(update={"augment": settings})
        other.augmentation = self.augmentation.with_settings(settings)
        other._prefetcher = None  # it would gather with the settings of `self`
        return other

    @property
    def species(self) -> int:
        """Number of species with training recordings."""
        return len(np.unique(self.labels))

    @property
    def batch_recordings(self) -> int:
        """Number of recordings in a batch: species times recordings per species."""
        return min(self._config.species_per_batch, self.species) * self._config.recordings_per_species

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch: the configured number, or about one pass over the recordings."""
        return self._config.steps_per_epoch or math.ceil(len(self.labels) / self.batch_recordings)

    @property
    def class_shares(self) -> NDArray[np.float64]:
        """Approximate share of each class among the drawn recordings, (classes,).

        A class without recordings counts as a class with one recording.
        """
        counts = np.maximum(np.bincount(self.labels, minlength=self.classes), 1)
        generator = np.random.default_rng(derive_seed(self._config.seed, 1))
        return expected_shares(counts, self._config.species_per_batch, self._config.species_exponent, generator)

    def draw_batches(self, epoch: int) -> NDArray[np.int64]:
        """Returns the recordings of each batch of an epoch, (steps, batch)."""
        return draw_batches(
            self.labels,
            self._config.species_per_batch,
            self._config.recordings_per_species,
            self.steps_per_epoch,
            self._config.species_exponent,
            np.random.default_rng(derive_seed(self._config.seed, epoch)),
        )

    def make_views(self, epoch: int, step: int, recordings: Tensor) -> Views:
        """Returns the augmented views of a batch, on the device.

        Args:
            epoch: Epoch of the batch.
            step: Step of the batch in its epoch.
            recordings: Index of each recording, (batch,).
        """
        batch = Batch(epoch, step, tuple(recordings.tolist()))
        gathered = self._prefetcher.get(batch) if self._prefetcher else self.gather(batch)
        crops, *others = (part.to(self._device, non_blocking=True) for part in gathered)
        generator = torch.Generator(self._device).manual_seed(derive_seed(self._config.seed, epoch, step, 2))
        mixes = self._config.augment.mixup_alpha > 0
        for block, *behind in zip(*map(split_for_cache, (crops, *others)), strict=True):
            augmented = self.augmentation.augment(block, *behind, generator=generator)
            block.copy_(augmented if mixes else self.augmentation.mask(augmented, generator))
        rows = self._shuffle_views(batch).to(self._device, non_blocking=True)
        labels = self._labels_there[rows]
        targets = self._one_hot[labels]
        secondary = None if self._secondary_there is None else self._secondary_there[rows]
        if mixes:
            alpha, mix = self._config.augment.mixup_alpha, self.augmentation.mix
            crops, targets, partner = mixup(crops, targets, alpha, generator, mix)
            crops = self.augmentation.mask(crops, generator)
            secondary = None if secondary is None else secondary | secondary[partner]
        return Views(crops, labels, targets, rows, secondary)

    def gather(self, batch: Batch) -> tuple[Tensor, ...]:
        """Returns crops of a batch, and the further crops that `augment` needs, (batch * views, 1, n_mels, frames)
        each.

        The crops are on the device of the strips. Random numbers are drawn on the CPU, so that they do not depend on
        that device.
        """
        generator = torch.Generator().manual_seed(derive_seed(self._config.seed, batch.epoch, batch.step, 1))
        rows = self._shuffle_views(batch)
        positions = self._draw_positions(rows, generator)
        crops = gather_crops(self.strips, rows, positions)
        crops = self._copies.replace_crops(crops, rows, positions, generator)
        parts = crops, *self.augmentation.gather_others(len(rows), generator)
        pinned = self.strips.place.type == "cpu" and self._device.type == "cuda"
        return tuple(part.pin_memory() for part in parts) if pinned else parts

    def _shuffle_views(self, batch: Batch) -> Tensor:
        """Returns the recording of each view in random order, (batch * views,).

        Micro-batches and processes take consecutive views, and batch norm in training mode normalises over each part.
        Side by side, the views of one species would be normalised by each other.
        """
        rows = torch.tensor(batch.recordings).repeat_interleave(self._config.views)
        generator = torch.Generator().manual_seed(derive_seed(self._config.seed, batch.epoch, batch.step, 3))
        return rows[torch.randperm(len(rows), generator=generator)]

    def _load_noise(self, fold: FoldData, store: StripStore) -> Strips | None:
        """Returns the strips of the user's own noise that log-mel is mixed with; None if there are none."""
        if fold.background is None or fold.background.copies or not self._config.augment.reads_folder:
            return None
        return load_strips(store, fold.background.sha256s, self._device, self._config.residency)

    def _following(self, batch: Batch) -> Batch:
        """Returns the batch that follows a batch in training."""
        last = batch.step + 1 >= self.steps_per_epoch
        epoch, step = (batch.epoch + 1, 0) if last else (batch.epoch, batch.step + 1)
        return Batch(epoch, step, tuple(self.draw_batches(epoch)[step].tolist()))

    def _draw_positions(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        if self._active_crops:
            offsets = self._active_crops.draw_offsets(rows, generator)
        else:
            offsets = draw_offsets(self.strips.lengths[rows], self.crop_frames, generator)
        return offsets.unsqueeze(1) + self.augmentation.draw_time_map(len(rows), generator)  # (batch * views, frames)


def split_for_cache(crops: Tensor) -> Sequence[Tensor]:
    """Returns crops, (batch, ...), in parts that fit into the cache of a CPU core; on other devices in one part."""
    if crops.device.type != "cpu":
        return [crops]
    return torch.split(crops, max(1, _BLOCK_BYTES // (crops[0].numel() * crops.element_size())))


def load_validation(fold: FoldData, config: TrainConfig, device: torch.device) -> ValidationData:
    """Returns the validation recordings cut into windows in a row; only the last may overlap the one before."""
    strips = load_strips(StripStore(fold.store), fold.validation["sha256"].tolist(), device, config.residency)
    frames = fold.features.count_frames(config.clip_seconds)
    labels = torch.tensor(fold.validation["label_index"].to_numpy())
    ignored = mark_secondary(fold.validation, fold.species)
    return ValidationData(strips, labels, plan_windows(strips.lengths, frames, frames), frames, ignored)
