"""Lines of JSON in the log."""

import json
import logging
import sys

import pytest

from flows.monitoring.json_log import JsonFormatter, is_logging_json


def test_line_holds_time_level_logger_message_and_fields() -> None:
    record = logging.LogRecord("cache.computing.progress", logging.INFO, "x.py", 1, "features: %d of %d", (3, 4), None)
    record.created = 0.25
    record.__dict__["recordings"] = 3
    assert json.loads(JsonFormatter().format(record)) == {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "INFO",
        "logger": "cache.computing.progress",
        "message": "features: 3 of 4",
        "recordings": 3,
    }


def test_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "x.py", 1, "failed", None, sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "ValueError: two\nlines" in json.loads(line)["traceback"]


@pytest.mark.parametrize(("value", "on"), [("0", False), ("1", True)])
def test_variable_says_whether_the_log_is_json(value: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIRDCLEF_LOG_JSON", value)
    assert is_logging_json() is on
