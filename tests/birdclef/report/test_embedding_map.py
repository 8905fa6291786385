"""Maps of made-up features in which species are far apart by construction."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from birdclef.report.embedding_map import map_embeddings


@pytest.fixture
def predictions(tmp_path: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    for fold, size in enumerate((60, 30, 4)):
        labels = np.arange(size) % 3
        features = np.eye(3, 16)[labels] * 5 + generator.normal(0, 0.3, (size, 16))
        (tmp_path / str(fold)).mkdir()
        np.save(tmp_path / str(fold) / "features.npy", features.astype(np.float16))
        table = pd.DataFrame(
            {"recording_id": [f"{row}.ogg" for row in range(size)], "label": np.array(list("abc"))[labels]}
        )
        table.to_csv(tmp_path / str(fold) / "recordings.csv", index=False)
    return [tmp_path / str(fold) for fold in range(3)]


def test_recordings_of_a_species_lie_together(predictions: list[Path]) -> None:
    maps = map_embeddings(predictions, [0, 1, 2], 1000, 0)
    assert [(one.fold, len(one.labels)) for one in maps] == [(0, 60), (1, 30)]  # four recordings make no map
    for one in maps:
        labels = np.array(one.labels)
        distances = np.linalg.norm(one.places[:, None] - one.places[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.95


def test_species_of_one_or_two_recordings_make_no_map(predictions: list[Path]) -> None:
    for path in predictions:
        table = pd.read_csv(path / "recordings.csv")
        pairs = [f"s{row // 2}" for row in range(len(table) - 6)] + ["a"] * 3 + ["b"] * 3
        table.assign(label=pairs[: len(table)]).to_csv(path / "recordings.csv", index=False)
    assert map_embeddings(predictions[:2], [0, 1], 1000, 0) == []


def test_map_is_thinned_out_and_repeatable(predictions: list[Path]) -> None:
    first, again, other = (map_embeddings(predictions, [0, 1, 2], 47, seed) for seed in (1, 1, 2))
    assert [len(one.labels) for one in first] == [30, 15]
    assert all((one.places == two.places).all() for one, two in zip(first, again, strict=True))
    assert first[0].labels != other[0].labels or (first[0].places != other[0].places).any()


def test_no_recordings_wanted_no_map(predictions: list[Path]) -> None:
    assert map_embeddings(predictions, [0, 1, 2], 0, 0) == []
