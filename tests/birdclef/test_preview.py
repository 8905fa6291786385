"""The picture of augmentations: what is shown, and that it is a picture."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from matplotlib.axes import Axes
from numpy.typing import NDArray

from birdclef.config.model import ModelConfig
from birdclef.config.train import TrainConfig
from birdclef.preview import preview_augmentations
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


def test_right_column_shows_one_augmentation_each(shown: list[NDArray[np.float32]]) -> None:
    before, after = shown[::2], shown[1::2]
    assert len(before) == len(after) == 8
    for one, other in zip(before, after, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() > 0.01
    bands, times = (after[row] == 0 for row in (5, 6))
    assert bands.all(axis=1).any()  # masks are 0
    assert times.all(axis=0).any()
    assert not bands.all(axis=0).any()


def test_gain_is_shown_where_the_model_sees_it(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"model": ModelConfig(normalisation="dataset")})
    crops, titles = draw(config, evaluation_split, evaluation_workspace, tmp_path)
    assert "gain" in titles
    gain = crops[1] - crops[0]
    assert np.ptp(gain) < 1e-3
    assert abs(gain.mean()) > 0


def test_background_is_left_out_where_there_is_none(
    evaluation_split: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    titles = draw(CONFIG, evaluation_split, evaluation_workspace, tmp_path)[1]
    assert titles[1::2][:3] == ["filter", "noise", "time stretch"]


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
