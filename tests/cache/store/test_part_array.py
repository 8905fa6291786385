import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.store.encoding import FLOAT16, StripEncoding
from cache.store.fragment import DamagedPartError
from cache.store.part_array import PartRows

PLAIN = {"step_db": 1.0, "offset_db": 0.0}


@pytest.fixture(scope="module")
def array(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A Zarr array of 50 rows in chunks of 8, and its values."""
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float16)
    path = tmp_path_factory.mktemp("rows") / "array"
    zarr.create_array(store=str(path), data=values, chunks=(8, 3), compressors=None, attributes=PLAIN)
    return path, values


@settings(deadline=None)
@given(start=st.integers(0, 49), stop=st.integers(1, 50))
def test_any_rows_are_those_that_zarr_reads(start: int, stop: int, array: tuple[Path, np.ndarray]) -> None:
    path, values = array
    rows = np.zeros((max(stop - start, 0), 3), np.float16)
    PartRows.open(path).read(start, rows)
    np.testing.assert_array_equal(rows, values[start : start + len(rows)])
    np.testing.assert_array_equal(rows, np.asarray(zarr.open_array(str(path), mode="r")[start : start + len(rows)]))


def test_layout_is_read(array: tuple[Path, np.ndarray]) -> None:
    rows = PartRows.open(array[0])
    assert (rows.frames, rows.channels, rows.chunk_frames) == (50, 3, 8)


@pytest.mark.parametrize("encoding", [FLOAT16, StripEncoding.of("uint8", -80.0)])
@pytest.mark.parametrize("frames", [0, 20])
def test_metadata_is_what_zarr_writes(encoding: StripEncoding, frames: int, tmp_path: Path) -> None:
    PartRows(tmp_path, frames, 5, 2, 8, encoding, "0123").write_metadata()
    attributes = {"features": "0123", "step_db": encoding.step_db, "offset_db": encoding.offset_db, "scores": 2}
    zarr.create_array(
        store=str(tmp_path / "zarr"),
        shape=(frames, 7),
        chunks=(8, 7),
        dtype=encoding.dtype,
        compressors=None,
        attributes=attributes,
    )
    assert (tmp_path / "zarr.json").read_text() == (tmp_path / "zarr" / "zarr.json").read_text()
    assert PartRows.open(tmp_path) == PartRows(tmp_path, frames, 5, 2, 8, encoding, "0123")


def write(path: Path, **options: object) -> Path:
    data = np.zeros((20, 3), np.float16)
    zarr.create_array(store=str(path), data=data, chunks=(8, 3), attributes=PLAIN, **options)  # type: ignore[arg-type]
    return path


def test_missing_or_short_chunk_is_an_error_where_zarr_reads_zeros(tmp_path: Path) -> None:
    path = write(tmp_path / "array", compressors=None, config={"write_empty_chunks": True})
    out = np.ones((20, 3), np.float16)
    os.truncate(path / "c" / "1" / "0", 20)
    with pytest.raises(DamagedPartError, match=r"c/1/0 is too short\. Run birdclef verify"):
        PartRows.open(path).read(0, out)
    (path / "c" / "1" / "0").unlink()
    with pytest.raises(DamagedPartError, match="c/1/0 cannot be read"):
        PartRows.open(path).read(0, out)
    assert not np.asarray(zarr.open_array(str(path), mode="r")[:]).any()


def test_array_of_another_layout_is_refused(tmp_path: Path) -> None:
    compressed = write(tmp_path / "compressed")
    with pytest.raises(DamagedPartError, match="not plain rows"):
        PartRows.open(compressed)
    double = np.zeros((20, 3))
    zarr.create_array(store=str(tmp_path / "double"), data=double, chunks=(8, 3), compressors=None, attributes=PLAIN)
    with pytest.raises(DamagedPartError, match="not plain rows"):
        PartRows.open(tmp_path / "double")
    cut = np.zeros((20, 3), np.float16)
    zarr.create_array(store=str(tmp_path / "cut"), data=cut, chunks=(8, 2), compressors=None, attributes=PLAIN)
    with pytest.raises(DamagedPartError, match="not plain rows"):
        PartRows.open(tmp_path / "cut")


@pytest.mark.parametrize("content", [None, "{", json.dumps({"shape": [1]}), json.dumps([])])
def test_what_is_no_array_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(DamagedPartError, match="not a readable Zarr array"):
        PartRows.open(tmp_path)
