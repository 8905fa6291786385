"""Writes a part of the store: a Zarr array and its index fragment, which appear whole or not at all."""

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
from cache.workspace.feature_directory import FeatureDirectory

CHUNK_FRAMES = 8192
"""Most rows of a chunk."""
_CHUNK_BYTES = 2**21


def digest_strip(stored: NDArray[Any]) -> str:
    """Returns 16 hex digits of the sha256 of a strip as it is stored, (frames, channels)."""
    return hashlib.sha256(np.ascontiguousarray(stored).data).hexdigest()[:16]


def find_damaged_strips(part: Path, fragment: Fragment) -> list[Strip]:
    """Returns the strips of a fragment that do not lie in the array as they were written."""
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
    """Writes one part, strip by strip, in memory bounded by a strip; `publish` makes it visible.

    As a context manager it removes what was not published.
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
            sha256: Of the audio.
            strip: With scores, if there are any, (frames, channels + scores).
            fingerprint: Of its sound, if it may be compared with others.
            log_mel: By which its level is told, (frames, bands) in dB; None: the strip is one.
            seconds: Of the audio; None: as long as its frames.

        Raises:
            ValueError: If it holds non-finite values, or is not as wide as the part.
        """
        if not np.isfinite(strip).all():
            raise ValueError(f"The strip of audio {sha256} holds non-finite values; it must not enter the store.")
        stored = self._encoding.encode(strip)
        levels = strip if log_mel is None else log_mel
        peak_db, mean_db = round(float(levels.max()), 3), round(float(levels.mean(dtype=np.float64)), 3)
        digest, first = digest_strip(stored), self._frames
        self._append(Strip(sha256, "", first, len(stored), peak_db, mean_db, digest, fingerprint, seconds), stored)

    def copy_strip(self, strip: Strip, stored: NDArray[Any]) -> None:
        """Append a strip of another part as it is stored there, (frames, channels).

        Raises:
            ValueError: If it is not what was written there, or not as wide as this part.
        """
        if digest_strip(stored) != strip.digest:
            raise ValueError(f"The strip of audio {strip.sha256} in part {strip.part} is damaged. Run birdclef verify.")
        self._append(replace(strip, part="", start=self._frames), stored)

    def _append(self, strip: Strip, stored: NDArray[Any]) -> None:
        if stored.shape[1] != self._width:
            raise ValueError(
                f"The strip of audio {strip.sha256} has {stored.shape[1]} values a row, the part in "
                f"{self._store.path} has {self._width}, {self._score_columns} of them scores. Open the part for "
                "as many, or mend the front end."
            )
        self._rows.append(stored)
        self._strips.append(strip)
        self._frames += len(stored)

    def add_failure(self, failure: Failure) -> None:
        """Record audio that gives no strip."""
        self._failures.append(failure)

    def publish(self) -> str:
        """Make the part visible: rename its array into place, then write its fragment; returns its id."""
        self._rows.finish()
        fragment = Fragment(tuple(self._strips), tuple(self._failures))
        identity = fragment.identity
        final = self._store.path / "parts" / identity
        try:
            self._staging.rename(final)
        except OSError:
            if not final.is_dir():
                raise
            if find_damaged_strips(final, fragment):
                shutil.rmtree(final)
                self._staging.rename(final)
            else:  # another builder published the same part
                shutil.rmtree(self._staging)
        if self._store.mirror:
            self._store.mirror.send(final, final)
        self._store.publish(f"index/{identity}.json", fragment.to_json().encode())
        return identity


def copy_strips(store: FeatureDirectory, part: str, strips: Iterable[Strip], failures: Iterable[Failure]) -> str:
    """Write strips of a part, as they are stored there, and failures to a part of their own; returns its id.

    Raises:
        DamagedPartError: If the part's array cannot be opened.
        ValueError: If a strip is not what was written there.
    """
    array = PartRows.open(store.path / "parts" / part)
    with PartWriter(store, array.channels, array.encoding, array.score_columns) as writer:
        for strip in strips:
            writer.copy_strip(strip, array.read_whole(strip.start, strip.frames))
        for failure in failures:
            writer.add_failure(failure)
        return writer.publish()
