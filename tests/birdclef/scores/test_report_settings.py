"""Settings of a report's predictions, read from both of the places that hold them."""

from pathlib import Path

import pytest

from birdclef.config.predict import PredictConfig
from birdclef.scores.report_settings import read_predict_settings
from cache.workspace.file_format import DamagedArtefactError
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace


@pytest.mark.parametrize(
    ("experiment", "windows"),
    [
        ("predict: {batch_windows: 8, stride_seconds: 9.0}\n", 8),
        ("predict: {stride_seconds: 9.0}\n", PredictConfig().batch_windows),
        ("data: {root: d}\n", PredictConfig().batch_windows),  # as it may be written by hand
        ("", PredictConfig().batch_windows),
    ],
)
def test_predictions_say_what_was_predicted_and_the_experiment_in_what_batches(
    tmp_path: Path, experiment: str, windows: int
) -> None:
    made = PredictConfig(stride_seconds=2.5, batch_windows=16)
    recipe = Recipe("predictions", made.identity(), {}, 1)
    predictions = Workspace(tmp_path).materialise(recipe, lambda staging: (staging / "a").write_text("") and None)
    (tmp_path / "experiment.yaml").write_text(experiment)
    read = read_predict_settings(predictions, tmp_path)
    assert (read.stride_seconds, read.batch_windows) == (2.5, windows)


@pytest.mark.parametrize(
    ("experiment", "made", "told"),
    [
        ("predict: x\n", {}, r"experiment\.yaml is damaged, because predict is 'x' and no section"),
        ("[1, 2]\n", {}, r"experiment\.yaml is damaged, because the experiment is \[1, 2\] and no section"),
        ("predict: {batch_windows: 1000000000}\n", {}, r"experiment\.yaml is damaged, because batch_windows=10"),
        ("", {"shift_seconds": 3}, r"provenance\.json is damaged, because shift_seconds=3 is wrong"),
        ("", {"shift_seconds": [0.0] * 200, "gain_db": [0.0] * 200}, r"provenance\.json is .* are 40000 views"),
    ],
    ids=str,
)
def test_settings_that_nobody_can_predict_with_are_told_with_their_file(
    tmp_path: Path, experiment: str, made: dict[str, object], told: str
) -> None:
    recipe = Recipe("predictions", made, {}, 1)
    predictions = Workspace(tmp_path).materialise(recipe, lambda staging: (staging / "a").write_text("") and None)
    (tmp_path / "experiment.yaml").write_text(experiment)
    with pytest.raises(DamagedArtefactError, match=told):
        read_predict_settings(predictions, tmp_path)


def test_settings_of_a_report_from_elsewhere_that_stand_for_too_much_are_refused(tmp_path: Path) -> None:
    repeated = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11))
    (tmp_path / "experiment.yaml").write_text(f"a0: &a0 [x]\n{repeated}")
    with pytest.raises(ValueError, match=r"experiment\.yaml, line \d+: this stands for more than 100,000 values"):
        read_predict_settings(tmp_path, tmp_path)
