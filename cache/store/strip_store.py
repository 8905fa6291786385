"""The strip store: content-addressed parts that appear complete or not at all.

Layout of `features/<feature_key>/`:

    parts/<id>/       Zarr v3 array (frames, channels) float16 or uint8, the strips of one part one after the other;
                      in a row of an embedding, the scores of the model's own labels follow, if it has any
    index/<id>.json   fragment: the place of each strip in the part, and the audio that gave no strip
    model.*           embedding model that makes the strips
    labels.txt        labels of the embedding model

Readers ignore a part without a fragment. The id of a part is a hash of its audio, so a part that is published twice has
the same bytes, and two tasks never write the same array.

Chunks are not compressed. LZ4 and Zstandard save 21 % and 27 % of log-mel in float16, but cost most of the speed of
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
from cache.workspace.atomic_files import move_atomically, write_atomically
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.urls import download, transfer


class StripStore:
    """Reads the strips of a feature directory; parts that are published later are not seen.

    Attributes:
        strips: Strips by the sha256 of their audio.
        failures: Failures by the sha256 of audio that gave no strip.
    """

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
            self.failures.pop(sha256, None)  # a later attempt succeeded

    def __contains__(self, sha256: str) -> bool:
        """Whether audio with this sha256 was computed, with or without success."""
        return sha256 in self.strips or sha256 in self.failures

    def read(self, sha256: str) -> NDArray[np.float16]:
        """Returns one strip, (frames, channels); a log-mel is in dB.

        Raises:
            KeyError: If the store has no strip of this audio.
            DamagedPartError: If rows of the strip are missing.
        """
        strip = self._find(sha256)
        array = self._open(strip.part)
        stored = np.empty((strip.frames, array.channels), array.encoding.dtype)
        array.read(strip.start, stored)
        return array.encoding.decode(stored)

    def read_scores(self, sha256: str) -> NDArray[np.float16]:
        """Returns an embedding model's scores of its own labels for a recording, (frames, labels) probabilities.

        Raises:
            KeyError: If the store has no strip of this audio.
            DamagedPartError: If rows of the strip are missing.
        """
        strip = self._find(sha256)
        array = self._open(strip.part)
        return array.read_whole(strip.start, strip.frames)[:, array.channels :]

    def load(self, sha256s: Iterable[str]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
        """Returns many strips in one array; each part is read once, in order.

        Args:
            sha256s: sha256 of the audio of each strip.

        Returns:
            Stored values, (total_frames, channels); first row of each strip, (strips,); number of rows of each strip,
            (strips,). A strip that is asked for twice has its rows once.

        Raises:
            KeyError: If the store lacks one of the strips.
            DamagedPartError: If rows of a strip are missing.
            ValueError: If `sha256s` is empty.
        """
        reader = self.reader(sha256s)
        return reader.load(), reader.starts, reader.lengths

    def reader(self, sha256s: Iterable[str]) -> StripReader:
        """Returns a reader of many strips.

        Args:
            sha256s: sha256 of the audio of each strip.

        Raises:
            KeyError: If the store lacks one of the strips.
            DamagedPartError: If an array cannot be opened.
            ValueError: If `sha256s` is empty.
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
    """Make the fragments on this machine equal to those at the URL, if the feature directory mirrors one."""
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
        DamagedPartError: If strips of the array at the URL differ from their digest.
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
                f"{mirror.address(final)} differs from what was written: {len(damaged)} strips are damaged. "
                "Run birdclef verify."
            )
        with suppress(OSError):  # another process has fetched it meanwhile
            move_atomically(incoming, final)


def _finality(failure: Failure) -> tuple[int, float]:
    """Returns a sort key, by decoder and then by limit (none is highest); a higher key promises less from a retry."""
    return failure.decoder or 0, math.inf if failure.limit is None else failure.limit
