"""Shows the progress of a stage in Prefect's UI. The stage reports its progress in its log records."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import cast
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_progress_artifact, update_progress_artifact

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_UPDATES = 3.0
_STAGES = ("birdclef", "cache")


class _LastEvent(logging.Handler):
    """Keeps the last log record that has a `progress`, 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.record: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record if it has a progress."""
        if hasattr(record, "progress"):
            self.record = record


@contextmanager
def show_progress(name: str) -> Iterator[None]:
    """Show the progress of the stage in the body; shows nothing if the stage finds everything in the workspace.

    Args:
        name: Name of the artifact. In its key, a dash replaces every character that Prefect does not allow.
    """
    last, over = _LastEvent(), threading.Event()
    key = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    # A thread, because the stage must not wait for a slow server. The copied context ties the artifact to this run.
    thread = threading.Thread(target=copy_context().run, args=(_update, key, last, over), daemon=True)
    for stage in _STAGES:
        logging.getLogger(stage).addHandler(last)
    thread.start()
    try:
        yield
    finally:
        for stage in _STAGES:
            logging.getLogger(stage).removeHandler(last)
        over.set()
        thread.join()


def _update(key: str, last: _LastEvent, over: threading.Event) -> None:
    artifact: UUID | None = None
    shown = None
    finished = False
    while not finished:
        finished = over.wait(SECONDS_BETWEEN_UPDATES)
        record = last.record
        if record is None or record is shown:
            continue
        percent, text = round(100 * record.progress, 1), record.getMessage()  # type: ignore[attr-defined]
        try:
            if artifact is None:
                artifact = cast("UUID", create_progress_artifact(percent, key=key, description=text))
            else:
                update_progress_artifact(artifact, percent, description=text)
            shown = record
        except HTTPError as error:
            logger.warning("could not show the progress of %s (%s: %s)", key, type(error).__name__, error)
