from pathlib import Path

import numpy as np
import pytest

from cache.store.bulk_read import read_rows
from cache.store.fragment import DamagedPartError


@pytest.fixture
def rows(tmp_path: Path) -> np.ndarray:
    """Ten rows of two values in three chunks of four, the last one filled up with zeros."""
    values = np.arange(20, dtype=np.float16).reshape(10, 2)
    filled = np.concatenate([values, np.zeros((2, 2), np.float16)])
    for number, chunk in enumerate(np.split(filled, 3)):
        (tmp_path / "c" / str(number)).mkdir(parents=True)
        (tmp_path / "c" / str(number) / "0").write_bytes(chunk.astype("<f2").tobytes())
    return values


@pytest.mark.parametrize(("start", "count"), [(0, 10), (3, 6), (4, 4), (9, 1), (5, 0)])
def test_rows_are_read_over_the_ends_of_chunks(tmp_path: Path, rows: np.ndarray, start: int, count: int) -> None:
    out = np.empty((count, 2), np.float16)
    read_rows(tmp_path, 4, start, out)
    np.testing.assert_array_equal(out, rows[start : start + count])


def test_a_missing_and_a_short_chunk_are_damage(tmp_path: Path, rows: np.ndarray) -> None:
    (tmp_path / "c" / "1" / "0").write_bytes(b"12")
    with pytest.raises(DamagedPartError, match="is too short"):
        read_rows(tmp_path, 4, 3, np.empty((2, 2), np.float16))
    (tmp_path / "c" / "1" / "0").unlink()
    with pytest.raises(DamagedPartError, match="cannot be read"):
        read_rows(tmp_path, 4, 3, np.empty((2, 2), np.float16))
