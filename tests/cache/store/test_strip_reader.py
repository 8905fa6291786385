"""Strips of two parts, read at once, one by one, and in blocks that end within strips."""

from pathlib import Path

import numpy as np
import pytest

from cache.store.part_array import PartRows
from cache.store.part_writer import PartWriter
from cache.store.strip_reader import StripReader
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory

LENGTHS = {"a": 7, "b": 1, "c": 12, "d": 5}


@pytest.fixture
def strips() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {name: generator.normal(-50, 9, (frames, 3)).astype(np.float16) for name, frames in LENGTHS.items()}


@pytest.fixture
def reader(tmp_path: Path, strips: dict[str, np.ndarray]) -> StripReader:
    """Of d, a, c and d again; b lies between them in the store."""
    for part in ("ab", "cd"):
        with PartWriter(FeatureDirectory(tmp_path), 3) as writer:
            for name in part:
                writer.add_strip(name, strips[name].astype(np.float32))
            writer.publish()
    index = StripStore(FeatureDirectory(tmp_path)).strips
    return StripReader([index[name] for name in "dacd"], lambda part: PartRows.open(tmp_path / "parts" / part))


def test_strip_asked_for_twice_lies_there_once(reader: StripReader, strips: dict[str, np.ndarray]) -> None:
    values = reader.encoding.decode(reader.load())
    assert reader.rows == len(values) == 5 + 7 + 12
    assert reader.lengths.tolist() == [5, 7, 12, 5]
    assert reader.starts[0] == reader.starts[3]
    for name, start, length in zip("dacd", reader.starts, reader.lengths, strict=True):
        np.testing.assert_array_equal(values[start : start + length], strips[name])


@pytest.mark.parametrize("size", [1, 5, 11, 24, 100])
def test_blocks_are_the_whole_cut_at_their_size(reader: StripReader, size: int) -> None:
    blocks = list(reader.blocks(size))
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    np.testing.assert_array_equal(np.concatenate(blocks), reader.load())


def test_rows_of_one_strip_are_read_from_any_of_them_on(reader: StripReader) -> None:
    whole, out = reader.load(), np.empty((3, 3), reader.encoding.dtype)
    reader.read(2, 4, out)
    np.testing.assert_array_equal(out, whole[reader.starts[2] + 4 : reader.starts[2] + 7])
