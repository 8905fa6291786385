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
from cache.store.part_array import PartRows, RowAppender

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
@pytest.mark.parametrize("pieces", [(), (20,), (8, 8), (3, 30, 1, 0, 6)])
def test_appended_rows_are_stored_byte_for_byte_as_in_the_workspaces_there_are(
    encoding: StripEncoding, pieces: tuple[int, ...], tmp_path: Path
) -> None:
    """Metadata and chunks are written out here as Zarr's specification has them, for stores are kept for years."""
    values = np.random.default_rng(1).integers(1, 100, (sum(pieces), 7)).astype(encoding.dtype)
    appender = RowAppender(PartRows(tmp_path, 0, 5, 2, 8, encoding, "0123"))
    start = 0
    for rows in pieces:
        appender.append(values[start : start + rows])
        start += rows
    appender.finish()
    appender.close()
    endian = {"configuration": {"endian": "little"}} if encoding == FLOAT16 else {}
    metadata = {
        "shape": [len(values), 7],
        "data_type": encoding.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [8, 7]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if encoding == FLOAT16 else 0,
        "codecs": [{"name": "bytes", **endian}],
        "attributes": {
            "features": "0123",
            "step_db": encoding.step_db,
            "offset_db": encoding.offset_db,
            "scores": 2,
        },
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    padding = np.zeros((-len(values) % 8, 7), encoding.dtype)
    content = np.concatenate([values, padding]).astype(values.dtype.newbyteorder("<")).tobytes()
    size = 8 * 7 * values.itemsize
    expected = {f"c/{i}/0": content[i * size : (i + 1) * size] for i in range(len(content) // size)}
    expected["zarr.json"] = json.dumps(metadata, indent=2).encode()
    stored = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert stored == expected
    assert PartRows.open(tmp_path) == PartRows(tmp_path, len(values), 5, 2, 8, encoding, "0123")


def test_all_written_files_are_flushed_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: dict[str, bytes] = {}

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed[path.relative_to(tmp_path).as_posix()] = path.read_bytes()

    monkeypatch.setattr(os, "fsync", fsync)
    appender = RowAppender(PartRows(tmp_path, 0, 3, 0, 8, FLOAT16, "0123"))
    appender.append(np.ones((20, 3), np.float16))
    appender.finish()
    appender.close()
    assert flushed == {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert flushed.keys() == {"zarr.json", "c/0/0", "c/1/0", "c/2/0"}


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


@pytest.mark.parametrize(
    "changed",
    [
        {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]},
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}},
        {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "/"}}},
    ],
)
def test_array_whose_rows_lie_elsewhere_or_in_another_order_is_refused(
    changed: dict[str, object], tmp_path: Path
) -> None:
    path = write(tmp_path / "array", compressors=None)
    metadata = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**metadata, **changed}))
    with pytest.raises(DamagedPartError, match="not plain rows"):
        PartRows.open(path)


@pytest.mark.parametrize("content", [None, "{", json.dumps({"shape": [1]}), json.dumps([])])
def test_what_is_no_array_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(DamagedPartError, match="not a readable Zarr array"):
        PartRows.open(tmp_path)
