"""How far a stage is, in Prefect's UI: what its log tells, as a progress artifact."""

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
    """Keeps the last record that has a `progress`, 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.record: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record, or not."""
        if hasattr(record, "progress"):
            self.record = record


@contextmanager
def show_progress(name: str) -> Iterator[None]:
    """Show how far the stage in the body is; one that finds all in the workspace tells nothing, and so shows nothing.

    Args:
        name: Of the artifact; what its key may not hold becomes a dash.
    """
    last, over = _LastEvent(), threading.Event()
    key = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    # The server may be slow, and the stage must not wait for it; the context tells whose artifact it is.
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
            logger.warning("the progress of %s is not shown (%s: %s)", key, type(error).__name__, error)
