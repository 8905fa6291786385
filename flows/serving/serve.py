"""Starts and supervises a Prefect server and a worker, and registers work pool, deployments and schedule."""

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout
from httpx import HTTPError
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.monitoring.server_api import NoAnswerError, WrongAnswerError, check_server
from flows.serving.deployments import deploy, prepare_pool, set_schedule, skip_missed_runs
from flows.serving.password import protect_server
from flows.serving.supervisor import Part, ServeError, end_leftovers
from flows.settings import POOL, own_worker

logger = logging.getLogger(__name__)

_SERVER_START_SECONDS = 120
_STOP_SECONDS = 4
_POLL_SECONDS = 0.5
_SECONDS_BETWEEN_SKIPS = 60
_REQUEST_SECONDS = 20


def serve(host: str, port: int, schedule: CronSchedule | None, parameters: dict[str, Any]) -> None:
    """Serve the deployments until SIGTERM or SIGINT; then stop all that was started.

    The server is the one that `PREFECT_API_URL` names; without it, a server is started. A server or worker that dies
    is restarted. Runs that a killed worker left open are closed first, because they would block the queue for ever.

    Args:
        host: Address on which a started server listens.
        port: Port of a started server.
        schedule: Schedule of the full pipeline; None runs it on demand only.
        parameters: Parameters of the scheduled runs.

    Raises:
        ServeError: If no server answers, an unknown server answers at the port, deploying fails, another serve runs, no
            server can listen at the address, or a part dies five times in a row.
    """
    home = str(PREFECT_HOME.value().resolve())
    lock = _lock_home(home)
    parts: list[Part] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_on_signal)
    try:
        if ended := end_leftovers(home):
            logger.warning("serve: ended %d process(es) that a killed `birdclef serve` left", ended)
        _serve_parts(parts, home, host, port, schedule, parameters)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for part in reversed(parts):
            part.stop(_STOP_SECONDS)
        end_leftovers(home)
        lock.release()


def _serve_parts(
    parts: list[Part], home: str, host: str, port: int, schedule: CronSchedule | None, parameters: dict[str, Any]
) -> None:
    """Start server and worker, add them to `parts`, and supervise them until a stop is requested."""
    url, is_missing = choose_server(host, port)
    os.environ["PREFECT_API_URL"] = url
    if is_missing:
        check_address(host, port)
        if password := protect_server(host, Path(home)):
            _tell_password(host, password)
        parts.append(Part("server", ("flows.serving.server", host, str(port)), home, lambda: True))
    _wait_for_server(url, parts)
    # Prefect read its settings before this URL was known, and would start a second, temporary server.
    with temporary_settings({PREFECT_API_URL: url}):
        asyncio.run(prepare_pool())
        deploy()
        asyncio.run(set_schedule(schedule, parameters))
        worker = ("prefect", "--no-prompt", "worker", "start", "--pool", POOL, "--name", own_worker())
        parts.append(Part("worker", worker, home, lambda: _answers(url) and _ask(prepare_pool())))
        logger.info(
            "serve: ready at %s. From another terminal: export PREFECT_API_URL=%s; "
            "prefect deployment run birdclef/full-pipeline --watch",
            url.removesuffix("/api"),
            url,
            extra={"url": url, "schedule": schedule and schedule.cron},
        )
        _supervise(parts, url)


def choose_server(host: str, port: int) -> tuple[str, bool]:
    """Returns the URL of the API, and whether its server must be started.

    Args:
        host: Address on which a started server listens.
        port: Port of a started server.

    Raises:
        ServeError: If a Prefect server already answers at host and port, and `PREFECT_API_URL` is not set, or if
            something else answers there.
    """
    named_url, own_url = (PREFECT_API_URL.value() or "").rstrip("/"), f"http://{_reachable(host)}:{port}/api"
    if named_url and named_url != own_url:
        return named_url, False
    try:
        check_server(own_url)
    except NoAnswerError:
        return own_url, True
    except WrongAnswerError as error:
        raise ServeError(str(error)) from error
    if not named_url:
        raise ServeError(
            f"A Prefect server that this serve did not start answers at {own_url} already. Choose another --port, or "
            f"set PREFECT_API_URL={own_url} to use that server."
        )
    return own_url, False


def check_address(host: str, port: int) -> None:
    """Refuse an address on which no server can listen.

    Args:
        host: Name or address of this machine.
        port: Port, 1 to 65535.

    Raises:
        ServeError: If the name has no address, the address is not of this machine, or the port is in use or reserved.
    """
    reason = ""
    try:
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            if not (reason := _find_obstacle(family, address)):
                return
    except (OSError, UnicodeError) as error:  # UnicodeError: an empty or overlong part of a name
        reason = str((isinstance(error, OSError) and error.strerror) or error)
    raise ServeError(
        f"No server can listen at --host {host!r} --port {port}: {reason}. Name an address of this machine, such as "
        "--host 127.0.0.1, and a free --port from 1024 on."
    )


def _find_obstacle(family: socket.AddressFamily, address: Any) -> str:
    """Returns why nothing can listen at an address of this machine; an empty text if something can."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn: a server may just have ended
            listener.bind(address)
    except OSError as error:
        return str(error.strerror)
    return ""


def _lock_home(home: str) -> FileLock:
    lock = FileLock(Path(home) / "birdclef-serve.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ServeError(
            f"Another `birdclef serve` runs with PREFECT_HOME={home}. "
            "Stop it first, or set PREFECT_HOME to another folder."
        ) from None
    return lock


class _StopRequested(SystemExit):
    """SIGTERM or SIGINT was received."""


_stop_requested = threading.Event()  # set as well, because a finaliser or a callback can swallow the exception


def _stop_on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    _stop_requested.set()
    raise _StopRequested(0)


def _reachable(host: str) -> str:
    """Returns the address, in the form of URLs, at which this machine reaches a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return str(address) if address.version == 4 else f"[{address}]"


def _tell_password(host: str, file: Path) -> None:
    logger.warning(
        "serve: with --host %s other machines reach this server. Whoever has its password can execute commands on this "
        "machine, and traffic is not encrypted. User and password are in %s: log in with them, and for commands set "
        "PREFECT_API_AUTH_STRING=$(cat %s). To be reached from this machine only, use --host 127.0.0.1.",
        host,
        file,
        file,
    )


def _answers(url: str) -> bool:
    return not _find_silence(url)


def _find_silence(url: str) -> str:
    """Returns why no Prefect server answers, and what to do; an empty text if one answers."""
    try:
        check_server(url)
    except OSError as error:
        return str(error)
    return ""


def _wait_for_server(url: str, parts: list[Part]) -> None:
    deadline = time.monotonic() + _SERVER_START_SECONDS
    while silence := _find_silence(url):
        for part in parts:
            part.tend()
        if time.monotonic() > deadline:
            raise ServeError(
                f"No Prefect server answers at {url} after {_SERVER_START_SECONDS} s. The machine may be overloaded, "
                "or the port may be in use: choose another --port."
                if parts
                else f"{silence} To start a server here, unset PREFECT_API_URL. Waited {_SERVER_START_SECONDS} s."
            )
        time.sleep(_POLL_SECONDS)


def _supervise(parts: list[Part], url: str) -> None:
    skip_at = 0.0
    while not _stop_requested.is_set():
        for part in parts:
            part.tend()
        if time.monotonic() >= skip_at and _answers(url):
            skip_at = time.monotonic() + _SECONDS_BETWEEN_SKIPS
            _ask(skip_missed_runs())
        time.sleep(_POLL_SECONDS)


def _ask(request: Coroutine[Any, Any, None]) -> bool:
    """Returns whether a request to the server succeeded in time; a slow request must not stop the supervision."""
    try:
        asyncio.run(asyncio.wait_for(request, _REQUEST_SECONDS))
    except (HTTPError, OSError) as error:
        logger.warning("serve: a request to the server failed (%s: %s)", type(error).__name__, error)
        return False
    return True
