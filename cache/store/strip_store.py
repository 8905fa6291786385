"""The strip store: content-addressed parts that appear whole or not at all.

Layout of `features/<feature_key>/`:

    parts/<id>/       Zarr v3 array (frames, channels) float16 or uint8, the strips of one part one after the other;
                      behind each row of an embedding lie the scores of the model's own labels, if it has any
    index/<id>.json   fragment: which strip lies where in the part, and which audio gave none
    model.*           embedding model that makes the strips, and `labels.txt`, its own labels

A part without its fragment does not exist for readers. A part's id hashes the audio whose strips are in it, so what
is published twice has the same bytes, and no two tasks ever write one array.

Chunks are not compressed: LZ4 and Zstandard save 21 % and 27 % of log-mel in float16, and cost most of the speed of
loading.
"""

import math
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.store.fragment import DamagedPartError, Failure, Fragment, Strip
from cache.store.part_array import PartRows
from cache.store.part_writer import find_damaged_strips
from cache.store.strip_reader import StripReader
from cache.workspace.address import download, transfer
from cache.workspace.atomic_files import write_atomically
from cache.workspace.feature_directory import FeatureDirectory


class StripStore:
    """Reads the strips that were published in a feature directory when it was opened."""

    def __init__(self, directory: FeatureDirectory) -> None:
        self._directory = directory
        fetch_index(directory)
        self._opened: dict[str, PartRows] = {}
        self.strips: dict[str, Strip] = {}
        self.failures: dict[str, Failure] = {}
        for fragment_path in sorted((directory.path / "index").glob("*.json")):
            fragment = Fragment.read(fragment_path)
            self.strips.update((strip.sha256, strip) for strip in fragment.strips)
            for failure in fragment.failures:
                known = self.failures.setdefault(failure.sha256, failure)
                self.failures[failure.sha256] = max(known, failure, key=_finality)
        for sha256 in self.strips:
            self.failures.pop(sha256, None)  # it succeeded when it was tried again

    def __contains__(self, sha256: str) -> bool:
        """Whether this audio was computed, with or without success."""
        return sha256 in self.strips or sha256 in self.failures

    def read(self, sha256: str) -> NDArray[np.float16]:
        """Returns one strip, (frames, channels), in dB if it is a log-mel.

        Raises:
            KeyError: If the store has no strip of this audio.
            DamagedPartError: If the array lacks it.
        """
        strip = self._find(sha256)
        array = self._open(strip.part)
        stored = np.empty((strip.frames, array.channels), array.encoding.dtype)
        array.read(strip.start, stored)
        return array.encoding.decode(stored)

    def read_scores(self, sha256: str) -> NDArray[np.float16]:
        """Returns what an embedding model itself says of a recording, (frames, labels) probabilities.

        Raises:
            KeyError: If the store has no strip of this audio.
            DamagedPartError: If the array lacks it.
        """
        strip = self._find(sha256)
        array = self._open(strip.part)
        return array.read_whole(strip.start, strip.frames)[:, array.channels :]

    def load(self, sha256s: Iterable[str]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
        """Returns many strips in one flat array, each part read once and in order.

        Raises:
            KeyError: If the store has no strip of one of them.
            DamagedPartError: If an array lacks one of them.
            ValueError: If none is asked for.

        Returns:
            Values as they are stored, (total_frames, channels); for each requested strip its first row, (strips,), and
            its length in rows, (strips,). A strip asked for twice is stored once.
        """
        reader = self.reader(sha256s)
        return reader.load(), reader.starts, reader.lengths

    def reader(self, sha256s: Iterable[str]) -> StripReader:
        """Returns a reader of many strips.

        Raises:
            KeyError: If the store has no strip of one of them.
            DamagedPartError: If an array cannot be opened.
            ValueError: If none is asked for.
        """
        wanted = [self._find(sha256) for sha256 in sha256s]
        if not wanted:
            raise ValueError(f"No strip of {self._directory.path} was asked for.")
        if self._directory.mirror:
            transfer(self._open, {strip.part for strip in wanted})
        return StripReader(wanted, self._open)

    def _open(self, part: str) -> PartRows:
        fetch_part(self._directory, part)
        if part not in self._opened:
            self._opened[part] = PartRows.open(self._directory.path / "parts" / part)
        return self._opened[part]

    def _find(self, sha256: str) -> Strip:
        if sha256 not in self.strips:
            raise KeyError(f"{self._directory.path} has no strip of audio {sha256}. Run the features stage again.")
        return self.strips[sha256]


def fetch_index(store: FeatureDirectory) -> None:
    """Make the fragments on this machine those of the URL, if the feature directory mirrors one."""
    mirror, index = store.mirror, store.path / "index"
    if mirror is None:
        return
    index.mkdir(parents=True, exist_ok=True)
    here, there = {path.name for path in index.glob("*.json")}, mirror.sizes(index).keys()
    for name in here - there:
        (index / name).unlink(missing_ok=True)
        shutil.rmtree(store.path / "parts" / Path(name).stem, ignore_errors=True)

    def fetch(name: str) -> None:
        if content := mirror.read(index / name):
            write_atomically(index / name, content.decode())

    transfer(fetch, sorted(there - here))


def fetch_part(store: FeatureDirectory, part: str) -> None:
    """Fetch the array of a part, if the feature directory mirrors a URL and this machine has no copy.

    Raises:
        DamagedPartError: If what the URL has is not what was written.
    """
    mirror, final = store.mirror, store.path / "parts" / part
    if mirror is None or final.is_dir():
        return
    final.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=final.parent) as folder:
        incoming = Path(folder) / part
        for name in mirror.sizes(final):
            download(f"{mirror.address(final)}/{name}", incoming / name)
        damaged = find_damaged_strips(incoming, Fragment.read(store.path / "index" / f"{part}.json"))
        if damaged:
            raise DamagedPartError(
                f"{mirror.address(final)} is not as it was written: {len(damaged)} strips are damaged. "
                "Run birdclef verify."
            )
        with suppress(OSError):  # another process fetched it meanwhile
            incoming.rename(final)


def _finality(failure: Failure) -> tuple[int, float]:
    """Returns how little another attempt promises: by the newest decoder one without a limit, else the highest one."""
    return failure.decoder or 0, math.inf if failure.limit is None else failure.limit
