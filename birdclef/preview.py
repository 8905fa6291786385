"""Draws a picture of what each augmentation does to the input of a model."""

from collections.abc import Iterator
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
from cache.workspace.user_output import write_output
from cache.workspace.workspace import Workspace

_RECORDINGS = 8
_PROBABILITIES = tuple(name for name in AugmentConfig.model_fields if name.endswith("_probability"))
_MASKS = {"frequency masks": {"time_masks": 0}, "time masks": {"frequency_masks": 0}}
"""For each kind of mask the settings that switch off the other kind, which has the same probability."""
_ALONE = {
    title: (probability, without)
    for probability in _PROBABILITIES
    for title, without in (
        _MASKS if probability == "mask_probability" else {probability.removesuffix("_probability"): {}}
    ).items()
}
"""For each augmentation its probability, and the settings that switch off what shares this probability."""
_OFF = {**dict.fromkeys(_PROBABILITIES, 0.0), "mixup_alpha": 0.0}
_AS_IN_TRAINING = "as in training"


def preview_augmentations(
    config: TrainConfig,
    split: Path,
    fold: int,
    workspace: Workspace,
    output: Path,
    sources: tuple[Path | None, Path | None] = (None, None),
) -> None:
    """Write a PNG with the input of a member's model before and after each augmentation that is on, at probability 1.

    Each row shows one crop before and after, normalised as the model receives it, where masks are 0. The rows show
    different training recordings, up to eight. An augmentation that is off or changes nothing has no row, such as the
    background if no training recording has a quiet passage. The last row shows a view as training draws it, with the
    member's own probabilities.

    Args:
        config: Settings of the member.
        split: Split directory.
        fold: Validation fold; the crops come from its training recordings.
        workspace: Workspace that holds the artefacts.
        output: PNG file to write.
        sources: Catalogue of the member's features, if it is not the catalogue of the split, and the background of
            these features, if there is one.

    Raises:
        ValueError: If the features are embeddings, which have no picture, or if no augmentation changes anything.
    """
    catalogue, background = sources
    store = feature_directory(catalogue, workspace) if catalogue else None
    data = read_fold(split, fold, workspace, store, background)
    if data.features.kind == "embedding" or not isinstance(config.augment, AugmentConfig):
        raise ValueError(
            "A preview shows log-mel, and features.kind=embedding has no picture. Choose a member that reads log-mel."
        )
    chosen = np.unique(np.linspace(0, len(data.train) - 1, min(_RECORDINGS, len(data.train))).round().astype(int))
    training = TrainingData(data, config.model_copy(update={"views": 1}), torch.device("cpu"))
    before = _crops(training, config, _OFF, chosen)
    augmented = {name: _crops(training, config, settings, chosen) for name, settings in _rows(config.augment)}
    rows = {name: crops for name, crops in augmented.items() if not np.array_equal(crops, before)}
    if not rows:
        raise ValueError(
            "No augmentation of this member changes anything, so there is nothing to preview. Switch one on, such as "
            "augment.filter_probability=0.5."
        )
    titles = data.train["recording_id"].iloc[chosen].tolist()

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

    picture = render((7.5, 1.35 * len(rows) + 0.6), plot)
    with write_output(output, kind="png") as stream:
        stream.write(picture)


def _rows(augment: AugmentConfig) -> Iterator[tuple[str, dict[str, float]]]:
    """Yields each augmentation that is on with the settings that draw it alone, then all as training draws them."""
    for name, (probability, without) in _ALONE.items():
        if getattr(augment, probability):
            yield name, {**_OFF, probability: 1.0, **without}
    if augment.mixup_alpha:
        yield "mixup", {**_OFF, "mixup_alpha": augment.mixup_alpha}
    yield _AS_IN_TRAINING, {}


def _crops(
    training: TrainingData, config: TrainConfig, settings: dict[str, float], chosen: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Returns one crop of each chosen recording as the model receives it, (recordings, n_mels, frames).

    Args:
        training: All training recordings, so that statistics and backgrounds are those of training.
        config: Settings of the member.
        settings: Settings of augmentation that differ from the member's.
        chosen: Indices of the recordings.
    """
    augment = AugmentConfig.model_validate({**config.augment.model_dump(), **settings})
    views = training.with_augmentation(augment).make_views(0, 0, torch.from_numpy(chosen))
    crops = views.crops[views.recordings.argsort()]  # views come in random order
    received: NDArray[np.float32] = normalise(crops, config.model.normalisation, *training.statistics)[:, 0].numpy()
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
