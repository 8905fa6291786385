"""One command for all that deployments need: a Prefect server, a work pool, the deployments and a worker."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

from filelock import FileLock, Timeout
from prefect import State
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_HOME
from prefect.states import Crashed

from flows.notify import notify_of_run
from flows.settings import POOL, WORKER

logger = logging.getLogger(__name__)

_SERVER_START_SECONDS = 120
_STOP_SECONDS = 8
_POLL_SECONDS = 0.5


class ServeError(RuntimeError):
    """Serving cannot start or go on; the message says why and what to do."""


def serve(project: Path, host: str, port: int) -> None:
    """Serve the project's deployments until SIGTERM or SIGINT; then stop all that was started.

    A server that already answers at `PREFECT_API_URL` is used, otherwise one is started. Runs that a
    killed worker left behind are closed first, for they would block the queue for ever.

    Args:
        project: Directory with `prefect.yaml`.
        host: Address that a started server listens on.
        port: Of the server that is started.

    Raises:
        ServeError: If the server does not start, deploying fails, another serve holds this host, or a part dies.
    """
    lock = FileLock(Path(PREFECT_HOME.value()) / "birdclef-serve.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ServeError(
            f"Another `birdclef serve` runs with PREFECT_HOME={PREFECT_HOME.value()}. "
            "Stop it first, or set PREFECT_HOME to another folder."
        ) from None
    children: dict[str, subprocess.Popen[bytes]] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_on_signal)
    try:
        url = os.environ.setdefault("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
        if not _answers(url):
            children["server"] = _start("server", "start", "--host", host, "--port", str(port))
            _wait_for_server(url, children["server"])
        os.environ["BIRDCLEF_HOME"] = str(project)
        asyncio.run(_prepare_pool())
        _deploy(project)
        children["worker"] = _start("worker", "start", "--pool", POOL, "--name", WORKER)
        print(  # noqa: T201
            f"Serving at {url.removesuffix('/api')}. From another terminal:\n"
            f"  export PREFECT_API_URL={url}\n  prefect deployment run birdclef/full-pipeline --watch",
            flush=True,
        )
        _supervise(children)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        _stop(children)
        lock.release()


class _StopRequested(SystemExit):
    """A signal asked for the end."""


def _stop_on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise _StopRequested(0)


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a prefect command in a session of its own, so that it and its children can be stopped together."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    return subprocess.Popen(command, start_new_session=True)


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/health", timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def _wait_for_server(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SERVER_START_SECONDS
    while not _answers(url):
        if server.poll() is not None:
            raise ServeError(
                f"The Prefect server ended with status {server.returncode} before it answered at {url}. "
                "Is the port taken? Choose another with --port; the server's own message stands above."
            )
        if time.monotonic() > deadline:
            raise ServeError(f"The Prefect server does not answer at {url} after {_SERVER_START_SECONDS} s.")
        time.sleep(_POLL_SECONDS)


async def _prepare_pool() -> None:
    async with get_client() as client:
        try:
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        except ObjectAlreadyExists:
            await _close_stale_runs(client)


async def _close_stale_runs(client: PrefectClient) -> None:
    """Mark what a dead worker left running as crashed, unless a worker elsewhere may still be at it."""
    workers = await client.read_workers_for_work_pool(POOL)
    if any(worker.status == WorkerStatus.ONLINE and worker.name != WORKER for worker in workers):
        logger.warning("serve: another worker serves the pool %s, its runs are left alone", POOL)
        return
    unfinished = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=unfinished)),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
    )
    for run in runs:
        state: State[None] = Crashed(message="Its worker was killed.")
        await client.set_flow_run_state(run.id, state, force=True)
        notify_of_run(await client.read_flow(run.flow_id), run, state)
    if runs:
        logger.warning("serve: closed %d run(s) that a killed worker left behind", len(runs))


def _deploy(project: Path) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ServeError(f"`prefect deploy --all` failed in {project}:\n{result.stdout}\n{result.stderr}")


def _supervise(children: dict[str, subprocess.Popen[bytes]]) -> None:
    while True:
        for name, child in children.items():
            if child.poll() is not None:
                raise ServeError(f"The {name} ended with status {child.returncode}; its message stands above.")
        time.sleep(_POLL_SECONDS)


def _stop(children: dict[str, subprocess.Popen[bytes]]) -> None:
    """Stop the worker, then the server, each with all its processes; kill what does not stop."""
    for name in ("worker", "server"):
        child = children.get(name)
        if child is None:
            continue
        _signal_group(child, signal.SIGTERM)
        try:
            child.wait(_STOP_SECONDS / 2)
        except subprocess.TimeoutExpired:
            logger.warning("serve: the %s did not stop in time and is killed", name)
        _signal_group(child, signal.SIGKILL)
        child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return
