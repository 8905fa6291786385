"""A function in several processes of this machine that know each other, with one end for all of them."""

import logging
import multiprocessing
import os
import pickle
import queue
import socket
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

import torch

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
"""How long the others may still tell why they failed, once one has."""

_Message = tuple[int, str, Any]
_launched_as = 0


def launched_rank() -> int:
    """Returns the number of this process among those of `run_in_ranks`; 0 if it is none of them."""
    return _launched_as


def run_in_ranks(function: Callable[..., Any], arguments: Sequence[Any], ranks: int) -> Any:
    """Returns what a function returns in the first of several processes, each with its share of the cores.

    The processes find each other through the environment variables of torch.distributed. What the first one logs is
    logged here. If one of them fails or is killed, all end; they end too if this process does.

    Args:
        function: At module level, for it is sent to the processes.
        arguments: Of it, the same for all; they are pickled.
        ranks: Number of processes.

    Raises:
        RuntimeError: If a process is killed.
        Exception: What the function raised, with the process's traceback as a note.
    """
    context = multiprocessing.get_context("spawn")
    messages: multiprocessing.Queue[_Message] = context.Queue()
    port = _free_port()
    task = pickle.dumps((function, tuple(arguments)))  # by value: torch's own way would share the tensors among all
    processes = [
        context.Process(
            target=_work,
            args=(task, rank, ranks, port, messages),
            name=f"rank {rank}",
            daemon=True,
        )
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    try:
        return _attend(processes, messages)
    finally:
        for process in processes:
            process.kill()
            process.join()


def _attend(processes: Sequence[SpawnProcess], messages: "multiprocessing.Queue[_Message]") -> Any:
    """Returns the first process's result once all have ended; raises the error that tells most if one failed."""
    results: dict[int, Any] = {}
    errors: dict[int, Exception] = {}
    deadline = float("inf")
    while time.monotonic() < deadline:
        ended = [process for process in processes if not process.is_alive()]
        for rank, kind, content in _drain(messages):
            if kind == "log":
                own = logging.getLogger(content.name)
                if own.isEnabledFor(content.levelno):
                    own.handle(content)
            elif kind == "result":
                results[rank] = content
            else:
                errors[rank] = content
        if len(results) == len(processes):
            return results[0]
        killed = [process for process in ended if process.exitcode not in (0, None)]
        if killed:  # whatever the others say, they only noticed that it was gone
            raise RuntimeError(
                f"The training process of {killed[0].name} ended with exit code {killed[0].exitcode}. A negative code "
                "is a signal; -9 often means that memory ran out: lower train.*.micro_batch or devices."
            )
        if errors:
            if len(errors) + len(results) == len(processes):
                break
            deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
        wait([process.sentinel for process in processes if process not in ended], _POLL_SECONDS)
    raise errors[min(errors)]


def _drain(messages: "multiprocessing.Queue[_Message]") -> list[_Message]:
    drained = []
    while True:
        try:
            drained.append(messages.get(timeout=0.01))
        except queue.Empty:
            return drained


def _work(
    task: bytes,
    rank: int,
    ranks: int,
    port: int,
    messages: "multiprocessing.Queue[_Message]",
) -> None:
    """Call the function as one of the processes."""
    global _launched_as
    _launched_as = rank
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(ranks),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
    }
    torch.set_num_threads(max(1, torch.get_num_threads() // ranks))
    if rank == 0:
        logging.getLogger().addHandler(_Sender(messages))
        logging.getLogger("birdclef").setLevel(logging.INFO)
    try:
        function, arguments = pickle.loads(task)  # noqa: S301 - from the parent
        messages.put((rank, "result", function(*arguments)))
    except Exception as error:  # whatever it is, the parent raises it
        error.add_note(f"In training process {rank}:\n{traceback.format_exc()}")
        messages.put((rank, "error", _picklable(error)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class _Sender(logging.Handler):
    """Sends records of this project to the parent."""

    def __init__(self, messages: "multiprocessing.Queue[_Message]") -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, its text made up here."""
        if record.name.startswith("birdclef") or record.levelno >= logging.WARNING:
            record.msg, record.args, record.exc_info = record.getMessage(), None, None
            self._messages.put((0, "log", record))


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - of this process itself
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
