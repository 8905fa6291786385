"""Prefect's temporary server, in a session of its own: Ctrl-C on the terminal does not reach it."""

import os
import subprocess
import sys
from typing import Any

from prefect.client.orchestration import get_client
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from flows.serving.supervisor import start_process

_SETTINGS = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


class _SessionServer(SubprocessASGIServer):
    """Prefect's temporary server, which lives until its command has ended, whatever ends the command."""

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        arguments = ("--factory", "flows.serving.application:create_application", "--host", "127.0.0.1")
        quiet = ("--log-level", "error", "--lifespan", "on")
        return start_process(
            [sys.executable, "-m", "uvicorn", *arguments, "--port", str(self.port), *quiet],
            {**os.environ, **_SETTINGS, **get_current_settings().to_environment_variables(exclude_unset=True)},
            "prefect.server",
        )


def start_server() -> None:
    """Start Prefect's temporary server. Call it in the main thread if no server is set.

    The kernel ends the server together with the thread that started it.

    Raises:
        RuntimeError: If the server does not start in time.
        ValueError: If temporary servers are switched off.
    """
    _SessionServer()  # Prefect keeps one server for each process, and takes this one
    get_client(sync_client=True)
