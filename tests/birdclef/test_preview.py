"""The picture of augmentations: what is shown, and that it is a picture."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import image
from matplotlib.axes import Axes
from numpy.typing import NDArray

from birdclef.config.augment import AugmentConfig
from birdclef.config.model import ModelConfig
from birdclef.config.objective import ObjectiveConfig
from birdclef.config.train import TrainConfig
from birdclef.model.normalisation import normalise
from birdclef.preview import preview_augmentations
from birdclef.strips.fold import read_fold
from birdclef.training.data import TrainingData
from cache.catalogue import build_catalogue
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.features import open_feature_directory
from cache.recordings.catalogue_tables import feature_directory, read_catalogue
from cache.store.part_writer import PartWriter
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace

CONFIG = TrainConfig(clip_seconds=1.0)
ALONE = ["filter", "background", "noise", "stretch", "warp", "frequency masks", "time masks"]


def draw(
    config: TrainConfig, split: Path, workspace: Path, folder: Path, background: Path | None = None
) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Returns the crops of the picture, before and after each augmentation in turn, and their titles."""
    crops: list[NDArray[np.float32]] = []
    titles: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Axes, "imshow", lambda axes, crop, **_: crops.append(crop))
        patch.setattr(Axes, "set_title", lambda axes, title, **_: titles.append(title))
        preview_augmentations(config, split, 0, Workspace(workspace), folder / "preview.png", (None, background))
    return crops, titles


def write_background(store: Path, workspace: Workspace) -> Path:
    """Returns a background of one steady sound."""
    with PartWriter(FeatureDirectory(store), 16) as writer:
        writer.add_strip("rain", np.full((50, 16), -40.0, np.float32))
        writer.publish()
    table = "recording_id,label,sha256,frames,seconds\nrain.wav,,rain,50,1.6\n"
    recipe = Recipe("backgrounds", {}, {"features": store.name}, 1)
    return workspace.materialise(recipe, lambda staging: (staging / "recordings.csv").write_text(table) and None)


@pytest.fixture
def shown(evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path) -> list[NDArray[np.float32]]:
    workspace = tmp_path / "workspace"
    shutil.copytree(evaluation_workspace, workspace)
    background = write_background(next((workspace / "features").iterdir()), Workspace(workspace))
    return draw(CONFIG, evaluation_split, workspace, tmp_path, background)[0]


def test_left_column_shows_what_the_model_receives_of_stored_crops(
    shown: list[NDArray[np.float32]], evaluation_catalogue: Path, evaluation_workspace: Path
) -> None:
    """A crop is some strip, minus the median of each band, in tens of dB."""
    recordings: pd.DataFrame = read_catalogue(evaluation_catalogue)
    store = StripStore(feature_directory(evaluation_catalogue, Workspace(evaluation_workspace)))
    strips = [store.read(sha256).astype(np.float32) for sha256 in recordings["sha256"]]
    for crop in shown[::2]:
        np.testing.assert_allclose(np.quantile(crop, 0.5, axis=1, method="lower"), 0, atol=1e-6)
        steps = np.diff(10 * crop.T, axis=0)  # a median leaves the steps from frame to frame
        frames = len(crop.T)
        places = [
            np.abs(np.diff(np.concatenate([strip, strip])[first : first + frames], axis=0) - steps).max()
            for strip in strips
            for first in range(len(strip))
            if first + frames <= 2 * len(strip)
        ]
        assert min(places) < 2e-2


def augmented(**settings: float) -> TrainConfig:
    """Returns the settings of a member whose augmentations are off, but for the given ones."""
    off = {name: 0.0 for name in AugmentConfig.model_fields if name.endswith("_probability")}
    return CONFIG.model_copy(update={"augment": AugmentConfig.model_validate({**off, **settings})})


def test_augmentations_that_are_off_are_not_shown(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    config = augmented(noise_probability=1.0, mask_probability=0.3, time_masks=0)
    titles = draw(config, evaluation_split, evaluation_workspace, tmp_path)[1]
    assert titles[1::2] == ["noise", "frequency masks", "as in training"]


def test_last_row_is_a_view_as_training_draws_it(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    """The crop is the one that `TrainingData` makes of this recording with the member's own settings."""
    config = augmented(noise_probability=0.5, filter_probability=0.5).model_copy(update={"views": 1})
    crops, titles = draw(config, evaluation_split, evaluation_workspace, tmp_path)
    assert titles[1::2] == ["filter", "noise", "as in training"]
    data = read_fold(evaluation_split, 0, Workspace(evaluation_workspace))
    shown = torch.from_numpy(np.linspace(0, len(data.train) - 1, 8).round().astype(int))
    views = TrainingData(data, config, torch.device("cpu")).make_views(0, 0, shown)
    row = (views.recordings == data.train["recording_id"].tolist().index(titles[4])).nonzero().item()
    np.testing.assert_allclose(crops[5], normalise(views.crops, "band_median", 0.0, 1.0)[row, 0].numpy(), atol=1e-6)


def test_mixup_is_shown_where_training_mixes(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    objective = ObjectiveConfig(kind="ce")
    config = augmented(mixup_alpha=0.4).model_copy(update={"objective": objective})
    titles = draw(config, evaluation_split, evaluation_workspace, tmp_path)[1]
    assert titles[1::2] == ["mixup", "as in training"]


def test_member_without_augmentation_has_no_preview(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"nothing to preview. Switch one on, such as augment.filter_probability=0.5"):
        draw(augmented(), evaluation_split, evaluation_workspace, tmp_path)


def test_crops_are_normalised_with_all_training_recordings(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    """The moments are NumPy's, over the strips of all recordings of training, not of the eight in the picture."""
    data = read_fold(evaluation_split, 0, Workspace(evaluation_workspace))
    strips = {one: StripStore(data.store).read(one).astype(np.float64) for one in data.train["sha256"]}
    values = np.concatenate([strips[one].ravel() for one in data.train["sha256"]])
    config = augmented(gain_probability=1.0).model_copy(update={"model": ModelConfig(normalisation="dataset")})
    crops, titles = draw(config, evaluation_split, evaluation_workspace, tmp_path)
    strip = strips[data.train.set_index("recording_id")["sha256"][titles[0]]]
    strip = (np.concatenate([strip, strip]) - values.mean()) / values.std()
    crop = crops[0].T
    assert min(np.abs(strip[first : first + len(crop)] - crop).max() for first in range(len(strip) // 2)) < 1e-3


def test_crops_bear_the_name_of_their_recording(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    crops, titles = draw(CONFIG, evaluation_split, evaluation_workspace, tmp_path)
    data = read_fold(evaluation_split, 0, Workspace(evaluation_workspace))
    sha256 = data.train.set_index("recording_id")["sha256"]
    for crop, title in zip(crops[::2], titles[::2], strict=True):
        strip = StripStore(data.store).read(sha256[title]).astype(np.float32)
        steps, own = np.diff(10 * crop.T, axis=0), np.diff(np.concatenate([strip, strip]), axis=0)
        assert min(np.abs(own[first : first + len(steps)] - steps).max() for first in range(len(strip))) < 2e-2


def test_right_column_shows_one_augmentation_each(shown: list[NDArray[np.float32]]) -> None:
    before, after = shown[::2], shown[1::2]
    assert len(before) == len(after) == len(ALONE) + 1
    for one, other in zip(before, after, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() > 0.01
    bands, times = (after[ALONE.index(name)] == 0 for name in ("frequency masks", "time masks"))
    assert bands.all(axis=1).any()  # masks are 0
    assert times.all(axis=0).any()
    assert not bands.all(axis=0).any()


def test_gain_is_shown_where_the_model_sees_it(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    config = augmented(gain_probability=0.5).model_copy(update={"model": ModelConfig(normalisation="dataset")})
    crops, titles = draw(config, evaluation_split, evaluation_workspace, tmp_path)
    assert titles[1] == "gain"
    gain = crops[1] - crops[0]
    assert np.ptp(gain) < 1e-3
    assert abs(gain.mean()) > 0


def test_background_is_left_out_where_there_is_none(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    titles = draw(CONFIG, evaluation_split, evaluation_workspace, tmp_path)[1]
    assert titles[1::2][:3] == ["filter", "noise", "stretch"]


def test_picture_can_be_read(evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path) -> None:
    preview_augmentations(CONFIG, evaluation_split, 1, Workspace(evaluation_workspace), tmp_path / "preview.png")
    height, width, _ = image.imread(tmp_path / "preview.png").shape
    assert height > width > 1000


def test_member_with_features_of_its_own_is_shown_these(
    evaluation_split: Path, evaluation_catalogue: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(evaluation_workspace, workspace)
    fine = open_feature_directory(
        LogMelConfig(sample_rate=8_000, n_fft=512, fmax=4_000.0, n_mels=24), Workspace(workspace)
    ).path
    recordings = read_catalogue(evaluation_catalogue)
    with PartWriter(FeatureDirectory(fine), 24) as writer:
        for sha256 in sorted(set(recordings["sha256"])):
            writer.add_strip(sha256, np.full((40, 24), -50.0, np.float32))
        writer.publish()
    recordings = recordings.drop(columns=["frames", "seconds", "sound"]).assign(size=1, version="1")
    catalogue = build_catalogue(recordings, DataConfig(root="unused"), FeatureDirectory(fine), Workspace(workspace))
    shown: list[NDArray[np.float32]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Axes, "imshow", lambda axes, crop, **_: shown.append(crop))
        preview_augmentations(
            CONFIG, evaluation_split, 0, Workspace(workspace), tmp_path / "preview.png", (catalogue, None)
        )
    assert {len(crop) for crop in shown} == {24}
