"""Writes a part of the store: a Zarr array and its index fragment, which appear complete or not at all."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cache.store.encoding import FLOAT16, StripEncoding
from cache.store.fragment import DamagedPartError, Failure, Fragment, Strip
from cache.store.part_array import PartRows, RowAppender
from cache.workspace.atomic_files import move_atomically
from cache.workspace.feature_directory import FeatureDirectory

CHUNK_FRAMES = 8192
"""Highest number of rows in a chunk."""
_CHUNK_BYTES = 2**21


def digest_strip(stored: NDArray[Any]) -> str:
    """Returns 16 hex digits of the sha256 of a strip's stored values, (frames, channels + scores)."""
    return hashlib.sha256(np.ascontiguousarray(stored).data).hexdigest()[:16]


def find_damaged_strips(part: Path, fragment: Fragment) -> list[Strip]:
    """Returns the strips of a fragment whose rows in the array are missing or differ from their digest."""
    try:
        array = PartRows.open(part)
    except DamagedPartError:
        return list(fragment.strips)
    return [strip for strip in fragment.strips if not _is_sound(strip, array)]


def _is_sound(strip: Strip, array: PartRows) -> bool:
    try:
        stored = array.read_whole(strip.start, strip.frames)
    except DamagedPartError:
        return False
    return digest_strip(stored) == strip.digest


class PartWriter:
    """Writes one part, strip by strip; `publish` makes the part visible. Holds no more than one strip in memory.

    The end of the `with` block removes all files of a part that was not published.
    """

    def __init__(
        self, store: FeatureDirectory, channels: int, encoding: StripEncoding = FLOAT16, score_columns: int = 0
    ) -> None:
        self._store = store
        self._encoding = encoding
        parts = store.path / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        self._staging = Path(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=parts))
        self._staging.chmod(0o755)
        self._width = channels + score_columns
        self._score_columns = score_columns
        row_bytes = self._width * np.dtype(encoding.dtype).itemsize
        chunk_frames = max(1, min(CHUNK_FRAMES, _CHUNK_BYTES // row_bytes))
        self._rows = RowAppender(PartRows(self._staging, 0, channels, score_columns, chunk_frames, encoding, store.key))
        self._frames = 0
        self._strips: list[Strip] = []
        self._failures: list[Failure] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def add_strip(
        self,
        sha256: str,
        strip: NDArray[np.float32],
        fingerprint: str = "",
        *,
        log_mel: NDArray[np.float32] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Append a strip.

        Args:
            sha256: sha256 of the audio.
            strip: Strip with the scores behind it, if there are any, (frames, channels + scores).
            fingerprint: Fingerprint of the sound; empty: the strip must not be compared with others.
            log_mel: Log-mel that gives the level, (frames, bands) in dB; None: the strip itself.
            seconds: Duration of the audio; None: the frames give the duration.

        Raises:
            ValueError: If the strip holds non-finite values, or its width is not that of the part.
        """
        if not np.isfinite(strip).all():
            raise ValueError(f"The strip of audio {sha256} holds non-finite values, so it cannot be stored.")
        stored = self._encoding.encode(strip)
        levels = strip if log_mel is None else log_mel
        peak_db, mean_db = round(float(levels.max()), 3), round(float(levels.mean(dtype=np.float64)), 3)
        digest, first = digest_strip(stored), self._frames
        self._append(Strip(sha256, "", first, len(stored), peak_db, mean_db, digest, fingerprint, seconds), stored)

    def copy_strip(self, strip: Strip, stored: NDArray[Any]) -> None:
        """Append a strip of another part without a change.

        Args:
            strip: The strip in the other part.
            stored: Its stored values, (frames, channels + scores).

        Raises:
            ValueError: If the values differ from the strip's digest, or their width is not that of this part.
        """
        if digest_strip(stored) != strip.digest:
            raise ValueError(f"The strip of audio {strip.sha256} in part {strip.part} is damaged. Run birdclef verify.")
        self._append(replace(strip, part="", start=self._frames), stored)

    def _append(self, strip: Strip, stored: NDArray[Any]) -> None:
        if stored.shape[1] != self._width:
            raise ValueError(
                f"The strip of audio {strip.sha256} has {stored.shape[1]} values a row, but the part in "
                f"{self._store.path} has {self._width}, {self._score_columns} of them scores. Correct the front "
                "end, or open the part with the front end's width."
            )
        self._rows.append(stored)
        self._strips.append(strip)
        self._frames += len(stored)

    def add_failure(self, failure: Failure) -> None:
        """Record audio that gave no strip."""
        self._failures.append(failure)

    def publish(self) -> str:
        """Make the part visible: move its array to its place, then write its fragment. Returns the id of the part."""
        self._rows.finish()
        fragment = Fragment(tuple(self._strips), tuple(self._failures))
        identity = fragment.identity
        final = self._store.path / "parts" / identity
        try:
            move_atomically(self._staging, final)
        except OSError:
            if not final.is_dir():
                raise
            if find_damaged_strips(final, fragment):
                shutil.rmtree(final)
                move_atomically(self._staging, final)
            else:  # another builder published the same part
                shutil.rmtree(self._staging)
        if self._store.mirror:
            self._store.mirror.send(final, final)
        self._store.publish(f"index/{identity}.json", fragment.to_json().encode())
        return identity


def copy_strips(store: FeatureDirectory, part: str, strips: Iterable[Strip], failures: Iterable[Failure]) -> str:
    """Copy strips of a part, and failures, to a new part without a change; returns the id of the new part.

    Args:
        store: Feature directory.
        part: Id of the part that holds the strips.
        strips: Strips to copy.
        failures: Failures that the new part records.

    Raises:
        DamagedPartError: If the part's array cannot be opened.
        ValueError: If a strip differs from its digest.
    """
    array = PartRows.open(store.path / "parts" / part)
    with PartWriter(store, array.channels, array.encoding, array.score_columns) as writer:
        for strip in strips:
            writer.copy_strip(strip, array.read_whole(strip.start, strip.frames))
        for failure in failures:
            writer.add_failure(failure)
        return writer.publish()
