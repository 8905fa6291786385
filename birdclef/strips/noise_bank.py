"""The noise bank: quiet passages of the training recordings, which augmentation adds as background."""

from dataclasses import dataclass

import torch
from torch import Tensor

from birdclef.strips.crops import gather_crops_at
from birdclef.strips.frame_levels import compute_frame_levels
from birdclef.strips.residency import Strips
from cache.config.features import FeatureConfig

_LOUD_SHARE = 0.95
"""Share of a recording's frames that are not louder than its loud frames."""
_QUIET_DB = 15.0
"""Distance by which a quiet passage must stay below the loud frames of its own recording."""
_GUARD_SECONDS = 0.1
"""Time around a frame in which a quiet passage has no louder frame, because song fades in and out."""
_LEAST_SECONDS = 0.25
"""Length of the shortest passage that is used."""
_SILENCE_DB = 0.5
"""Distance to the floor up to which a frame is digital silence."""


@dataclass(frozen=True)
class NoiseBank:
    """Crops of quiet passages.

    Attributes:
        strips: Strips of the recordings.
        rows: Index of each crop's strip, (crops,).
        frames: Frames of each crop in its strip, (crops, crop_frames).
    """

    strips: Strips
    rows: Tensor
    frames: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, batch: int, generator: torch.Generator) -> Tensor:
        """Returns random crops in dB, (batch, 1, n_mels, crop_frames)."""
        chosen = torch.randint(len(self), (batch,), generator=generator)
        return gather_crops_at(self.strips, self.rows[chosen], self.frames[chosen])


def build_noise_bank(strips: Strips, features: FeatureConfig, crop_frames: int) -> NoiseBank:
    """Returns one crop of each recording that has quiet passages: its quietest ones, one after the other.

    A passage is quiet if it stays 15 dB below the loud frames of its own recording. An absolute level cannot tell a
    background from a bird, because recordings differ in gain and distance. Passages that are shorter than a crop
    together are repeated.

    Args:
        strips: Strips of the training recordings.
        features: Settings of the log-mel in the strips.
        crop_frames: Length of a crop.
    """
    levels = 10 * compute_frame_levels(strips).log10()  # (total_frames,)
    floor_db = features.compared_log_mel.floor_db + _SILENCE_DB
    guard, least = (features.count_frames(seconds) for seconds in (_GUARD_SECONDS, _LEAST_SECONDS))
    rows, crops = [], []
    for row, (start, length) in enumerate(zip(strips.starts.tolist(), strips.lengths.tolist(), strict=True)):
        passages = find_quiet_passages(levels[start : start + length], guard, least, floor_db)
        if passages:
            rows.append(row)
            crops.append(_join(passages, crop_frames))
    frames = torch.stack(crops) if crops else torch.empty((0, crop_frames), dtype=torch.int64)
    return NoiseBank(strips, torch.tensor(rows, dtype=torch.int64), frames)


def find_quiet_passages(levels: Tensor, guard: int, least: int, floor_db: float) -> list[Tensor]:
    """Returns the frames of each quiet passage of a recording, the quietest passage first.

    Args:
        levels: Level of each frame, dB, (frames,).
        guard: Frames around each frame of a passage that must be quiet too.
        least: Frames of the shortest passage.
        floor_db: Level up to which a frame is digital silence, which is no background.
    """
    padded = torch.nn.functional.pad(levels[None], (guard, guard), value=-torch.inf)
    loudest = torch.nn.functional.max_pool1d(padded, 2 * guard + 1, stride=1)[0]  # (frames,)
    quiet = (loudest <= torch.quantile(levels, _LOUD_SHARE) - _QUIET_DB) & (levels > floor_db)
    edges = torch.nn.functional.pad(quiet.int(), (1, 1)).diff()  # (frames + 1,)
    spans = zip((edges == 1).nonzero().flatten().tolist(), (edges == -1).nonzero().flatten().tolist(), strict=True)
    passages = [torch.arange(first, end) for first, end in spans if end - first >= least]
    return sorted(passages, key=lambda passage: float(levels[passage].mean()))


def _join(passages: list[Tensor], crop_frames: int) -> Tensor:
    """Returns the frames of the quietest passages that fill a crop, in the order of time, (crop_frames,)."""
    chosen, total = [], 0
    for passage in passages:
        chosen.append(passage[: crop_frames - total])
        total += len(chosen[-1])
        if total == crop_frames:
            break
    joined = torch.cat(sorted(chosen, key=lambda passage: int(passage[0])))
    return joined[torch.arange(crop_frames) % len(joined)]
