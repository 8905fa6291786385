"""Runs a function in several processes of this machine that communicate and end together."""

import logging
import multiprocessing
import os
import pickle
import queue
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from typing import Any

import torch

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
"""Time for the other processes to report their error after the first process has failed."""

_Message = tuple[int, str, Any]
_launched_as = 0


def launched_rank() -> int:
    """Returns the rank of this process in `run_in_ranks`; 0 if `run_in_ranks` did not start this process."""
    return _launched_as


def run_in_ranks(function: Callable[..., Any], arguments: Sequence[Any], ranks: int) -> Any:
    """Runs a function in several processes and returns the result of the first process.

    Each process gets its share of the cores. The processes find each other through the environment variables of
    torch.distributed. Log records of the first process are logged here too. If one process fails or is killed, all are
    ended. They also end if this process ends.

    Args:
        function: Function to run. It must be at module level, because it is pickled.
        arguments: Arguments of the function, the same in all processes; they are pickled.
        ranks: Number of processes.

    Raises:
        RuntimeError: If a process is killed.
        Exception: The error that the function raised, with the process's traceback as a note.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])  # imported once, not once in every process
    messages: multiprocessing.Queue[_Message] = context.Queue()
    port = _free_port()
    task = pickle.dumps((function, tuple(arguments)))  # copies tensors; torch's pickler would share their memory
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


def _attend(processes: Sequence[ForkServerProcess], messages: "multiprocessing.Queue[_Message]") -> Any:
    """Returns the first process's result when all processes have one; raises the error of the lowest rank otherwise."""
    results: dict[int, Any] = {}
    errors: dict[int, Exception] = {}
    deadline = float("inf")
    while time.monotonic() < deadline:
        ended = [process for process in processes if not process.is_alive()]
        _receive(messages, results, errors)
        if len(results) == len(processes):
            return results[0]
        _raise_if_killed(ended)
        if errors:
            if len(errors) + len(results) == len(processes):
                break
            deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
        wait([process.sentinel for process in processes if process not in ended], _POLL_SECONDS)
    raise errors[min(errors)]


def _receive(
    messages: "multiprocessing.Queue[_Message]", results: dict[int, Any], errors: dict[int, Exception]
) -> None:
    """Log the log records of all waiting messages, and add their results and errors by rank."""
    for rank, kind, content in _drain(messages):
        if kind == "log":
            own = logging.getLogger(content.name)
            if own.isEnabledFor(content.levelno):
                own.handle(content)
        elif kind == "result":
            results[rank] = content
        else:
            errors[rank] = content


def _raise_if_killed(ended: Sequence[ForkServerProcess]) -> None:
    """Raise an error if a process was killed; errors of the others are then only a consequence."""
    killed = [process for process in ended if process.exitcode not in (0, None)]
    if killed:
        raise RuntimeError(
            f"The training process of {killed[0].name} ended with exit code {killed[0].exitcode}. A negative code "
            "is a signal; -9 often means that memory ran out: lower train.*.micro_batch or devices."
        )


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
    """Call the function in a new process, and send its result or error to the parent."""
    global _launched_as
    _launched_as = rank
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
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
        function, arguments = pickle.loads(task)  # noqa: S301 - the parent made it
        messages.put((rank, "result", function(*arguments)))
    except Exception as error:  # the parent raises it again
        error.add_note(f"In training process {rank}:\n{traceback.format_exc()}")
        messages.put((rank, "error", _picklable(error)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class _Sender(logging.Handler):
    """Sends log records of this project, and warnings of others, to the parent."""

    def __init__(self, messages: "multiprocessing.Queue[_Message]") -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; its message is formatted here."""
        if record.name.startswith("birdclef") or record.levelno >= logging.WARNING:
            record.msg, record.args, record.exc_info = record.getMessage(), None, None
            self._messages.put((0, "log", record))


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - this process made it
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
