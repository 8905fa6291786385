"""Progress in Prefect's UI, from the log of a stage."""

import logging
import time
from collections.abc import Iterator

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_ui import progress
from flows.prefect_ui.progress import show_progress

logger = logging.getLogger("cache.computing.progress")


@pytest.fixture(autouse=True)
def _server(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0.3)
    logging.getLogger("cache").setLevel(logging.INFO)
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield


def _read(key: str) -> tuple[float, str | None]:
    artifact = Artifact.get(key)
    assert artifact is not None
    assert artifact.flow_run_id is not None
    return float(str(artifact.data)), artifact.description


def test_progress_follows_the_log_and_ends_with_its_last_word() -> None:
    @flow
    def stage() -> tuple[float, str | None]:
        with show_progress("Train CNN_1 fold 0"):
            logger.info("features: %d of 4", 1, extra={"progress": 0.25})
            deadline = time.monotonic() + 20
            while Artifact.get("train-cnn-1-fold-0") is None:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            midway = _read("train-cnn-1-fold-0")
            logger.info("features: %d of 4", 2, extra={"progress": 0.5})
            logger.info("nothing to do with it")
            logger.info("features: %d of 4", 4, extra={"progress": 1.0})
        return midway

    assert stage() == (25.0, "features: 1 of 4")
    assert _read("train-cnn-1-fold-0") == (100.0, "features: 4 of 4")


def test_stage_that_tells_nothing_shows_nothing() -> None:
    @flow
    def stage() -> None:
        with show_progress("silent"):
            logger.info("features: all from cache")

    stage()
    assert Artifact.get("silent") is None
