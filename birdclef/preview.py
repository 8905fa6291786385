"""Draws a picture of what each augmentation does to the input of a model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from birdclef.config.augment import AugmentConfig
from birdclef.config.train import TrainConfig
from birdclef.model.normalisation import normalise
from birdclef.strips.fold import FoldData, read_fold
from birdclef.training.data import TrainingData
from cache.plots.style import render
from cache.recordings.catalogue_tables import feature_directory
from cache.workspace.workspace import Workspace

_RECORDINGS = 8
_PROBABILITIES = tuple(name for name in AugmentConfig.model_fields if name.endswith("_probability"))
_ALONE = {
    "gain": {"gain_probability": 1.0},
    "filter": {"filter_probability": 1.0},
    "background": {"background_probability": 1.0},
    "noise": {"noise_probability": 1.0},
    "time stretch": {"stretch_probability": 1.0},
    "time warp": {"warp_probability": 1.0},
    "frequency masks": {"mask_probability": 1.0, "time_masks": 0},
    "time masks": {"mask_probability": 1.0, "frequency_masks": 0},
    "all at once": dict.fromkeys(_PROBABILITIES, 1.0),
}


def preview_augmentations(
    config: TrainConfig,
    split: Path,
    fold: int,
    workspace: Workspace,
    output: Path,
    sources: tuple[Path | None, Path | None] = (None, None),
) -> None:
    """Write a PNG with the input of a member's model before and after each augmentation, at probability 1.

    Each row shows one crop before and after, normalised as the model receives it, where masks are 0. The rows show
    different training recordings, up to eight. A gain is left out if the model's normalisation subtracts it again, and
    so is an augmentation that changes nothing, such as the background if these recordings have no quiet passage.

    Args:
        config: Settings of the member.
        split: Split directory.
        fold: Validation fold; the crops come from its training recordings.
        workspace: Workspace that holds the artefacts.
        output: PNG file to write.
        sources: Catalogue of the member's features, if it is not the catalogue of the split, and the background of
            these features, if there is one.

    Raises:
        ValueError: If the features are embeddings, which have no picture.
    """
    catalogue, background = sources
    store = feature_directory(catalogue, workspace) if catalogue else None
    data = read_fold(split, fold, workspace, store, background)
    if data.features.kind == "embedding":
        raise ValueError(
            "A preview shows log-mel, and features.kind=embedding has no picture. Choose a member that reads log-mel."
        )
    chosen = np.linspace(0, len(data.train) - 1, min(_RECORDINGS, len(data.train))).round().astype(int)
    some = replace(data, train=data.train.iloc[np.unique(chosen)].reset_index(drop=True))
    nothing = dict.fromkeys(_PROBABILITIES, 0.0)
    before = _crops(config, some, nothing)
    unseen = {"gain"} if config.model.normalisation == "band_median" else set()
    augmented = {
        name: _crops(config, some, {**nothing, **settings}) for name, settings in _ALONE.items() if name not in unseen
    }
    rows = {name: crops for name, crops in augmented.items() if not np.array_equal(crops, before)}
    titles = some.train["recording_id"].tolist()

    def plot(figure: Figure) -> None:
        grid = figure.subplots(len(rows), 2, sharex=True, sharey=True, squeeze=False)
        for index, (axes, (name, after)) in enumerate(zip(grid, rows.items(), strict=True)):
            changed = np.flatnonzero((before != after).any(axis=(1, 2)))  # a mask may have width 0
            recording = changed[index % len(changed)]
            levels = np.percentile(before[recording], (1, 99.8))
            for place, crop in zip(axes, (before[recording], after[recording]), strict=True):
                _show(place, crop, levels, data)
            axes[0].set_title(titles[recording], fontsize=8, parse_math=False)
            axes[1].set_title(name, fontsize=8)
        figure.supxlabel("seconds", fontsize=9)
        figure.supylabel("mel band", fontsize=9)

    output.write_bytes(render((7.5, 1.35 * len(rows) + 0.6), plot))


def _crops(config: TrainConfig, fold: FoldData, augment: dict[str, float]) -> NDArray[np.float32]:
    """Returns one crop of each recording as the model receives it, (recordings, n_mels, frames)."""
    settings = {**config.augment.model_dump(), "mixup_alpha": 0.0, **augment}
    one_view = config.model_copy(update={"augment": AugmentConfig.model_validate(settings), "views": 1})
    data = TrainingData(fold, one_view, torch.device("cpu"))
    crops = data.make_views(0, 0, torch.arange(len(fold.train))).crops
    received: NDArray[np.float32] = normalise(crops, config.model.normalisation, *data.statistics)[:, 0].numpy()
    return received


def _show(axes: Axes, crop: NDArray[np.float32], levels: NDArray[np.float64], fold: FoldData) -> None:
    seconds = crop.shape[1] / fold.features.frames_per_second
    axes.imshow(
        crop,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=levels[0],
        vmax=levels[1],
        extent=(0, seconds, 0, len(crop)),
        interpolation="nearest",
    )
    axes.tick_params(labelsize=7)
