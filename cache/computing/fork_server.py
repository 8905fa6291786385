"""Processes that start in milliseconds: a server without threads imports what they need once, and forks each of them.

The standard library's own fork server would import the caller's main script into each, and lend its environment to
whatever else of this process uses it.
"""

import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import IO, NoReturn

_LOOK_SECONDS = 1.0  # how often the server looks for its parent
_SERVER = """
from cache.computing.fork_server import fork_on_request
import {imports}
from {module} import {function}
fork_on_request(int(sys.argv[1]), parent=int(sys.argv[2]), idle_seconds=float(sys.argv[3]), function={function})
"""


class ForkServer:
    """The parent's side of the server.

    Args:
        function: What a forked process runs: it is called with its end of a connection and the server's process id.
        imports: Modules to import besides the function's, for it to find them loaded.
        environment: Variables of the server and its processes besides this process's own.
        idle_seconds: After so long without a living process the server ends itself.
    """

    def __init__(
        self,
        function: Callable[[Connection, int], None],
        imports: Sequence[str],
        environment: Mapping[str, str],
        idle_seconds: float,
    ) -> None:
        self._control, theirs = socket.socketpair()
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the server
        weakref.finalize(self, self._messages.close)
        code = _SERVER.format(
            imports=", ".join(["sys", *imports]), module=function.__module__, function=function.__name__
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, str(theirs.fileno()), str(os.getpid()), str(idle_seconds)],
                env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._messages,
                pass_fds=[theirs.fileno()],
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def fork(self) -> "ForkedProcess":
        """Returns a process that starts as soon as the server has; if the server is dead, so is the process."""
        ours, theirs = Pipe()
        status, teller = Pipe(duplex=False)
        messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        with theirs, teller, suppress(OSError):  # of a server that is dead
            handles = [theirs.fileno(), teller.fileno(), messages.fileno()]
            socket.send_fds(self._control, [b"f"], handles)
        return ForkedProcess(self, ours, status, messages)

    def end(self) -> int:
        """Kill the server, if it runs; returns its exit status as `subprocess` gives it."""
        self._process.kill()
        self._control.close()
        return self._process.wait()

    def last_words(self) -> str:
        """Returns the last line that it wrote to standard error."""
        return _last_line(self._messages)


class ForkedProcess:
    """The parent's side of a forked process.

    Attributes:
        connection: To its function.
    """

    def __init__(self, server: ForkServer, connection: Connection, status: Connection, messages: IO[bytes]) -> None:
        self.connection = connection
        self._server = server
        self._status = status
        self._messages = messages
        weakref.finalize(self, messages.close)
        self._exit_status: int | None = None
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether it has not ended, nor its server."""
        return self._exit_status is None and not self._status.poll()

    def kill(self, pid: int | None) -> None:
        """End it, and wait until it has; of a process that has not told its id yet, the server is ended."""
        if self.alive:
            if pid is None:
                self._server.end()
            else:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Returns its exit status as `subprocess` gives it; that of the server, if it ended first."""
        with self._lock:
            if self._exit_status is None:
                try:
                    self._exit_status = int(self._status.recv())
                except EOFError:
                    self._exit_status = self._server.end()
            return self._exit_status

    def last_words(self) -> str:
        """Returns the last line that it wrote to standard error, or the server, if it wrote none."""
        return _last_line(self._messages) or self._server.last_words()

    def close(self) -> None:
        """Give its handles back."""
        self.connection.close()
        self._status.close()
        self._messages.close()


def _last_line(messages: IO[bytes]) -> str:
    messages.seek(0)
    return "".join(messages.read().decode(errors="replace").strip().splitlines()[-1:])


def fork_on_request(
    control: int, parent: int, idle_seconds: float, function: Callable[[Connection, int], None]
) -> None:
    """The server's side: fork a process for each request, and tell how each ended.

    Args:
        control: Socket on which requests come, a byte each with three handles: for the process its connection, for its
            exit status a pipe, for its standard error a file.
        parent: Process id; the server ends with it.
        idle_seconds: As of `ForkServer`.
        function: As of `ForkServer`.
    """
    tellers: dict[int, Connection] = {}

    def reap(*_: object) -> None:
        while tellers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with tellers.pop(pid) as teller, suppress(BrokenPipeError):
                teller.send(os.waitstatus_to_exitcode(status))

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what ends
    signal.signal(signal.SIGCHLD, reap)
    gc.freeze()  # what was imported is shared with the processes, and not written to by their collectors
    idle_since = time.monotonic()
    with socket.socket(fileno=control) as requests:
        requests.settimeout(_LOOK_SECONDS)
        while os.getppid() == parent:
            if tellers:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > idle_seconds:
                return
            try:
                request, handles, _, _ = socket.recv_fds(requests, 1, 3)
            except TimeoutError:
                continue
            if not request:
                return
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
            server, pid = os.getpid(), os.fork()
            if pid == 0:
                requests.close()
                for other in tellers.values():
                    other.close()
                _run(handles, server, function)
            tellers[pid] = Connection(handles[1], readable=False)
            os.close(handles[0])
            os.close(handles[2])
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _run(handles: list[int], server: int, function: Callable[[Connection, int], None]) -> NoReturn:
    """Be the forked process, and end it."""
    exit_status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        connection, teller, messages = handles
        os.close(teller)
        os.dup2(messages, sys.stderr.fileno())
        os.close(messages)
        function(Connection(connection), server)
        exit_status = 0
    except BaseException:  # it must not return into the server's loop
        traceback.print_exc()
    finally:
        os._exit(exit_status)
