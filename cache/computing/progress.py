"""Shows the progress of a build: recordings, hours of audio, speed, failed recordings, time left."""

import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tqdm import tqdm

from cache.computing.part import Finished

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0
_SHORT_SECONDS = 90.0
"""Times below this are told in seconds."""


class BuildProgress:
    """Counts finished recordings; shows a bar on a terminal, or else a log line every 10 s.

    The time left is estimated from the bytes of the audio files, because recordings differ a thousandfold in length.

    Attributes:
        reasons: Number of recordings without a strip by reason. The catalogue finds more that cannot be used.

    Args:
        recordings: Number of recordings to compute.
        total_bytes: Size of their files.
    """

    def __init__(self, recordings: int, total_bytes: int) -> None:
        self.reasons: Counter[str] = Counter()
        self._recordings = recordings
        self._counted: set[str] = set()
        self._total_bytes = total_bytes
        self._done_recordings = self._done_bytes = 0
        self._audio_seconds = 0.0
        self._started = self._told = time.monotonic()
        self._bar = tqdm(
            total=total_bytes, desc="features", unit="B", unit_scale=True, disable=not sys.stderr.isatty(), leave=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
        if kind is None:
            logger.info("features: %s", self.summary(), extra=self._fields())

    def add(self, finished: Iterable[Finished]) -> None:
        """Count finished recordings, each once. If a Dask worker dies, its part is computed and reported again."""
        for recording in finished:
            if recording.source.sha256 in self._counted:
                continue
            self._counted.add(recording.source.sha256)
            self._done_recordings += 1
            self._done_bytes += recording.source.size
            self._audio_seconds += recording.seconds
            if recording.reason:
                self.reasons[recording.reason] += 1
                logger.warning("%s: %s (%s)", recording.source.address, recording.reason, recording.detail)
        self._bar.set_postfix_str(self.summary(), refresh=False)
        self._bar.update(self._done_bytes - self._bar.n)
        now = time.monotonic()
        if self._bar.disable and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            left = (now - self._started) * (self._total_bytes / max(self._done_bytes, 1) - 1)
            logger.info("features: %s, %s left", self.summary(), _describe_time(left), extra=self._fields())

    def summary(self) -> str:
        """Returns the present counts and the speed as text."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        return (
            f"{self._done_recordings} of {self._recordings} recordings, {self._audio_seconds / 3600:.2f} h of audio, "
            f"{self._audio_seconds / elapsed:.0f} x real time, {self.reasons.total()} failed"
        )

    def _fields(self) -> dict[str, float]:
        return {
            "progress": self._done_bytes / max(self._total_bytes, 1),
            "recordings": self._done_recordings,
            "audio_seconds": round(self._audio_seconds, 1),
            "failed": self.reasons.total(),
        }


def _describe_time(seconds: float) -> str:
    """Returns a time in words: whole minutes, or below one and a half minutes the next 10 s."""
    return f"{seconds / 60:.0f} min" if seconds >= _SHORT_SECONDS else f"{10 * max(1, math.ceil(seconds / 10))} s"
