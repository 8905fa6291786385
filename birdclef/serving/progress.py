"""Shows how far a prediction of recordings has come: a bar on a terminal, elsewhere a line every ten seconds."""

import logging
import time
from pathlib import Path

from tqdm import tqdm

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


class PredictionProgress:
    """Counts recordings and seconds of sound.

    Args:
        recordings: Number of recordings.
        seconds: Seconds that their headers state; they may be wrong.
    """

    def __init__(self, recordings: int, seconds: float) -> None:
        self._recordings = recordings
        self._begun = 0
        self._seconds = seconds
        self._reached = 0.0
        self._told = time.monotonic()
        self._bar = tqdm(total=round(seconds), unit="s", unit_scale=True, disable=None)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def begin(self, recording: Path) -> None:
        """Count the next recording."""
        self._begun += 1
        self._bar.set_description(recording.name)

    def add(self, seconds: float) -> None:
        """Count seconds of the recording that was begun."""
        self._reached += seconds
        self._bar.update(seconds)
        now = time.monotonic()
        if self._bar.disable and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            logger.info(
                "predict: recording %d of %d, %.2f of %.2f h",
                *(self._begun, self._recordings, self._reached / 3600, max(self._reached, self._seconds) / 3600),
                extra={"progress": self._reached / max(self._reached, self._seconds, 1.0)},
            )
