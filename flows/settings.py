"""Prefect and Dask settings that this project needs. A variable that the user has set keeps its value."""

import logging
import os
import socket
from hashlib import sha256
from pathlib import Path


def name_worker(prefect_home: str) -> str:
    """Returns the name of this host's worker; it is unique for each host and Prefect home."""
    home = str(Path(prefect_home).expanduser().resolve())
    return f"birdclef-{socket.gethostname()}-{sha256(home.encode()).hexdigest()[:6]}"


def own_worker() -> str:
    """Returns the name of the worker that `birdclef serve` starts here."""
    return name_worker(os.environ.get("PREFECT_HOME") or "~/.prefect")


WEBHOOK = "BIRDCLEF_WEBHOOK"
"""Variable with the address that hears of failed runs and of decisions on models."""
POOL = "birdclef"

PASSWORD_FILE = "birdclef-password"  # noqa: S105 - the name of a file
"""File in the Prefect home with the user and password of a server that other machines reach."""


def prefect_home() -> Path:
    """Returns the folder of Prefect's database, without importing Prefect."""
    return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()


_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "birdclef,cache",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # By default leases are in memory. They end with the server, and then Prefect ends each run that holds a lease.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_UI_API_URL": "/api",
    # By default the database keeps runs with their logs and artifacts for ever. Now they are removed after 90 days.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    # By default pages of every origin may call the API. No origin has this name, so only the server's own pages may.
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "same-origin",
    "PREFECT_CLIENT_MAX_RETRIES": "8",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "DASK_LOGGING__DISTRIBUTED": "warning",
    # Threads of PyTorch that wait for each other turn for 300,000 rounds by default. Where something else needs a core,
    # a training step then takes 1.6 s instead of 1.1 s; alone it takes 0.5 s either way.
    "GOMP_SPINCOUNT": "3000",
}


def apply_settings() -> None:
    """Set environment variables; call it before importing prefect or dask. `prefect.yaml` sets some for its workers."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def show_stage_messages() -> None:
    """Let the log messages of the stages reach Prefect's log."""
    for name in ("birdclef", "cache", "flows"):
        logging.getLogger(name).setLevel(logging.INFO)


def show_messages_here() -> None:
    """Let the messages of stages that run without Prefect reach the terminal, in the form of Prefect's log.

    A log in JSON stays as it is, because the last resort of Python's logging is used only where there is no handler.
    """
    show_stage_messages()
    if logging.lastResort:
        logging.lastResort.setLevel(logging.INFO)
        logging.lastResort.setFormatter(
            logging.Formatter("%(asctime)s.%(msecs)03d | %(levelname)-7s | %(name)s - %(message)s", "%H:%M:%S")
        )
