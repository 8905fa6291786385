"""Writes the log as lines of JSON, one object per event, for log collectors."""

import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from typing import IO

from flows.configuration.switch import is_on

_SWITCH = "BIRDCLEF_LOG_JSON"
_PREFECT_SETTINGS = {
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "flows.monitoring.json_log.JsonFormatter",
    "PREFECT_LOGGING_FORMATTERS_JSON_FORMAT": "%(message)s",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_HANDLERS_DEBUG_FORMATTER": "json",
    "PREFECT_LOGGING_COLORS": "false",
}
_OWN_FIELDS = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "color_message", "send_to_api"})


class JsonFormatter(logging.Formatter):
    """Formats a record as time, level, logger, message, traceback (if any) and the extra fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns one line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        fields = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
        return json.dumps({**line, **fields}, default=str, ensure_ascii=False)


def log_as_json() -> None:
    """Let this process and its child processes log lines of JSON; call it before importing prefect."""
    os.environ |= {_SWITCH: "1", **_PREFECT_SETTINGS}
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(capture=True)


def is_logging_json() -> bool:
    """Returns whether the log is JSON: after `log_as_json` here or in a parent, or if $BIRDCLEF_LOG_JSON is on."""
    return is_on(_SWITCH)


def relay_as_json(stream: IO[bytes], log_name: str) -> None:
    """Copy the output of a process to standard error until it ends; a line that is not JSON becomes an event."""
    threading.Thread(target=_relay, args=(stream, log_name), daemon=True).start()


def _relay(stream: IO[bytes], log_name: str) -> None:
    own = logging.getLogger(log_name)
    for line in stream:
        text = line.decode(errors="replace").rstrip()
        if text.startswith("{") and text.endswith("}"):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
        elif text:
            own.info("%s", text)
