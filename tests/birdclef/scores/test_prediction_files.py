"""Expected values are written out in the test; the files are read with NumPy and pandas alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from birdclef.scores.prediction_files import (
    open_features,
    prediction_seconds,
    read_out_of_fold,
    read_own_labels,
    read_recordings,
    write_features,
    write_own_labels,
    write_predictions,
    write_unviewed_predictions,
)

RECORDINGS = pd.DataFrame({"recording_id": ["NA/9.ogg", "b/1.ogg"], "label": ["NA", "b"], "sha256": ["0", "1"]})


def write_fold(directory: Path, names: list[str], probabilities: np.ndarray, seconds: list[float]) -> Path:
    directory.mkdir()
    labels = [name.split("/")[0] for name in names]
    pd.DataFrame({"recording_id": names, "label": labels}).to_csv(directory / "recordings.csv", index=False)
    views = pd.DataFrame({"view": ["plain", "louder"], "weight": [1.0, 3.0], "windows": len(names), "seconds": seconds})
    views.to_csv(directory / "views.csv", index=False)
    np.save(directory / "probabilities.npy", probabilities.astype(np.float32))
    return directory


@pytest.fixture
def folds(tmp_path: Path) -> list[Path]:
    first = np.arange(12).reshape(2, 2, 3)
    second = 100 + np.arange(6).reshape(2, 1, 3)
    return [
        write_fold(tmp_path / "0", ["NA/9.ogg", "b/1.ogg"], first, [1.0, 2.0]),
        write_fold(tmp_path / "1", ["a/1.ogg"], second, [0.25, 0.5]),
    ]


def test_folds_are_joined_in_the_order_of_recordings(folds: list[Path]) -> None:
    member = read_out_of_fold(folds)
    assert member.recordings["recording_id"].tolist() == ["NA/9.ogg", "a/1.ogg", "b/1.ogg"]
    assert member.recordings["label"].tolist() == ["NA", "a", "b"]
    assert member.recordings.index.tolist() == [0, 1, 2]
    assert member.probabilities.tolist() == [
        [[0, 1, 2], [100, 101, 102], [3, 4, 5]],
        [[6, 7, 8], [103, 104, 105], [9, 10, 11]],
    ]


def test_order_of_the_folds_does_not_matter(folds: list[Path]) -> None:
    forward, backward = read_out_of_fold(folds), read_out_of_fold(folds[::-1])
    assert forward.recordings.equals(backward.recordings)
    assert (forward.probabilities == backward.probabilities).all()


def test_cost_of_a_view_is_summed_over_folds(folds: list[Path]) -> None:
    views = read_out_of_fold(folds).views
    assert views.to_dict(orient="list") == {
        "view": ["plain", "louder"],
        "weight": [1.0, 3.0],
        "windows": [3, 3],
        "seconds": [1.25, 2.5],
    }


def test_mean_over_views_is_weighted(folds: list[Path]) -> None:
    member = read_out_of_fold(folds)
    # one part of the first view, three of the second: (0 + 3 * 6) / 4, ...
    assert member.mean.tolist() == [[4.5, 5.5, 6.5], [102.25, 103.25, 104.25], [7.5, 8.5, 9.5]]
    assert member.mean_of([1]).tolist() == member.probabilities[1].tolist()


def test_recording_predicted_by_two_folds_is_refused(folds: list[Path], tmp_path: Path) -> None:
    again = write_fold(tmp_path / "2", ["c/1.ogg", "b/1.ogg"], np.zeros((2, 2, 3)), [1.0, 1.0])
    with pytest.raises(ValueError, match=r"Recordings that two folds predict: 1, b/1\.ogg among them"):
        read_out_of_fold([*folds, again])


def test_written_predictions_are_three_plain_files(tmp_path: Path) -> None:
    views = [{"view": name, "weight": 1.0, "windows": 4, "seconds": 0.5} for name in ("plain", "louder")]
    write_predictions(tmp_path, RECORDINGS, [np.eye(2), 1 - np.eye(2)], views)
    assert {path.name for path in tmp_path.iterdir()} == {"probabilities.npy", "recordings.csv", "views.csv"}
    probabilities = np.load(tmp_path / "probabilities.npy")
    assert probabilities.dtype == np.float32
    assert probabilities.tolist() == [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    assert (tmp_path / "recordings.csv").read_text() == "recording_id,label\nNA/9.ogg,NA\nb/1.ogg,b\n"
    assert (tmp_path / "views.csv").read_text() == ("view,weight,windows,seconds\nplain,1.0,4,0.5\nlouder,1.0,4,0.5\n")
    assert prediction_seconds(tmp_path) == 1.0


def test_predictions_of_whole_recordings_are_one_view(tmp_path: Path) -> None:
    write_unviewed_predictions(tmp_path, RECORDINGS, np.eye(2), 0.25)
    assert (tmp_path / "views.csv").read_text() == "view,weight,windows,seconds\nwhole recording,1.0,2,0.25\n"
    member = read_out_of_fold([tmp_path])
    assert member.mean.tolist() == [[1, 0], [0, 1]]
    assert member.of(pd.Series(["b/1.ogg"])).tolist() == [[0, 1]]


def test_a_species_called_na_stays_a_species(tmp_path: Path) -> None:
    write_unviewed_predictions(tmp_path, RECORDINGS, np.eye(2), 0.25)
    assert read_recordings(tmp_path)["label"].tolist() == ["NA", "b"]


def test_features_are_kept_in_half_precision_and_read_when_used(tmp_path: Path) -> None:
    write_features(tmp_path, np.array([[0.5, 2049.0]], np.float32))
    stored = np.load(tmp_path / "features.npy")
    assert stored.dtype == np.float16
    assert stored.tolist() == [[0.5, 2048.0]]  # float16 has 11 significant bits
    assert isinstance(open_features(tmp_path), np.memmap)


def test_a_species_without_own_label_has_an_empty_one(tmp_path: Path) -> None:
    species = pd.DataFrame({"label": ["NA", "b"], "scientific_name": ["Nucifraga", ""], "recordings": [3, 4]})
    write_own_labels(tmp_path, species, ["Nucifraga_nutcracker", ""])
    assert (tmp_path / "labels.csv").read_text() == (
        "label,scientific_name,own_label\nNA,Nucifraga,Nucifraga_nutcracker\nb,,\n"
    )
    assert read_own_labels(tmp_path)["own_label"].tolist() == ["Nucifraga_nutcracker", ""]
