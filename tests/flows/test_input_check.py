"""Tables that are written here: what is told first follows from the order table, folds, weights."""

from pathlib import Path

import pytest

from cache.workspace.workspace import Workspace
from flows.experiment import ExperimentConfig, load_config
from flows.input_check import check_inputs, check_recordings, check_splits


def write_data(root: Path, label: str = "s", missing: bool = False) -> str:
    """Writes two species, one with three recordings, too few for four folds; returns the setting that names them."""
    (root / "train_audio").mkdir(parents=True)
    rows = "".join(f"{label},{number}.ogg,ann{number}\n" for number in range(3)) + "rain,3.ogg,ann3\n"
    (root / "train_metadata.csv").write_text(f"primary_label,filename,author\n{rows}")
    for number in range(1 if missing else 0, 4):
        (root / "train_audio" / f"{number}.ogg").touch()
    return f"data.root={root}"


def load(*settings: str) -> ExperimentConfig:
    return load_config(Path("demo"), ["split.folds=4", *settings])


def test_errors_of_the_table_come_before_folds_and_weights(tmp_path: Path) -> None:
    workspace, weights = Workspace(tmp_path / "work"), f"train.*.model.weights={tmp_path}/none.pth"
    for name, settings, told in (
        ("gone", {"missing": True}, r"file not found in the audio folder: line 2 \(0\.ogg\)"),
        ("spaces", {"label": "House Sparrow"}, "primary_label holds white space"),
    ):
        experiment = load(write_data(tmp_path / name, **settings), weights)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=told):
            check_inputs([experiment], workspace)
        with pytest.raises(ValueError, match=told):
            check_recordings([experiment])
    good = write_data(tmp_path / "good")
    with pytest.raises(FileNotFoundError, match=r"audio folder .* does not exist"):
        check_inputs([load(good, "data.audio=sounds", weights)], workspace)
    with pytest.raises(ValueError, match=r"^split\.folds=4 needs"):
        check_inputs([load(good, weights)], workspace)
    with pytest.raises(FileNotFoundError, match=r"none\.pth is no file"):
        check_inputs([load(good, "split.folds=3"), load(good, "split.folds=3", weights)], workspace)
    check_inputs([load(good, "split.folds=3")], workspace)
    check_splits([load(good, "split.folds=3", weights)], workspace)  # a split needs no weights
    with pytest.raises(ValueError, match=r"^split\.folds=4 needs"):
        check_splits([load(good, weights)], workspace)
    check_recordings([load(good)])  # features need no folds
