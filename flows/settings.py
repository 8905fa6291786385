"""Prefect and Dask settings that this project relies on; what the user set in the environment wins."""

import logging
import os
import socket
from hashlib import sha256
from pathlib import Path


def name_worker(prefect_home: str) -> str:
    """Returns a name for the worker of this host's `birdclef serve` with a Prefect home, which no two share."""
    home = str(Path(prefect_home).expanduser().resolve())
    return f"birdclef-{socket.gethostname()}-{sha256(home.encode()).hexdigest()[:6]}"


POOL = "birdclef"
WORKER = name_worker(os.environ.get("PREFECT_HOME") or "~/.prefect")

_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "birdclef,cache",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Leases in memory, the default, end with the server, and then each run that holds one is ended as well.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_UI_API_URL": "/api",
    "PREFECT_CLIENT_MAX_RETRIES": "8",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "DASK_LOGGING__DISTRIBUTED": "warning",
}


def apply_settings() -> None:
    """Set the environment; call it before prefect or dask is imported. `prefect.yaml` sets the same for its workers."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def show_stage_messages() -> None:
    """Let what the stages tell reach Prefect's log."""
    for name in ("birdclef", "cache", "flows"):
        logging.getLogger(name).setLevel(logging.INFO)
