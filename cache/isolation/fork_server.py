"""Processes that start in milliseconds: a server without threads imports modules once, and forks each process.

The fork server of the standard library does not fit. It would import the caller's main script into each process, and
all other users of it in this process would get the same environment variables.
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
from typing import IO, Any, NoReturn

_LOOK_SECONDS = 1.0  # between two looks whether the parent still lives
_SERVER = """
from cache.isolation.fork_server import fork_on_request
import {imports}
from {module} import {function}
fork_on_request(int(sys.argv[1]), parent=int(sys.argv[2]), idle_seconds=float(sys.argv[3]), function={function})
"""


class ForkServer:
    """The parent's side of the server.

    Args:
        function: Function that each forked process runs, with its end of a connection and the server's process id.
        imports: Modules that the server imports besides the function's module, so that they are loaded after a fork.
        environment: All environment variables of the server and its processes.
        idle_seconds: The server ends itself after this time without a living process.
    """

    def __init__(
        self,
        function: Callable[[Connection, int], None],
        imports: Sequence[str],
        environment: Mapping[str, str],
        idle_seconds: float,
    ) -> None:
        self._control, theirs = socket.socketpair()
        weakref.finalize(self, self._control.close)
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the server
        weakref.finalize(self, self._messages.close)
        code = _SERVER.format(
            imports=", ".join(["sys", *imports]), module=function.__module__, function=function.__name__
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, str(theirs.fileno()), str(os.getpid()), str(idle_seconds)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._messages,
                pass_fds=[theirs.fileno()],
            )
        weakref.finalize(self, _end, self._process)

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._process.poll() is None

    def fork(self) -> "ForkedProcess":
        """Returns a process that starts as soon as the server runs; if the server is dead, so is the process."""
        ours, theirs = Pipe()
        status, teller = Pipe(duplex=False)
        messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        with theirs, teller, suppress(OSError):  # raised if the server is dead
            handles = [theirs.fileno(), teller.fileno(), messages.fileno()]
            socket.send_fds(self._control, [b"f"], handles)
        return ForkedProcess(self, ours, status, messages)

    def end(self) -> int:
        """Kill the server, if it runs; returns its exit status, negative for a signal as in `subprocess`."""
        self._control.close()
        return _end(self._process)

    def last_words(self) -> str:
        """Returns the last line that the server wrote to standard error."""
        return _last_line(self._messages)


def _end(process: subprocess.Popen[bytes]) -> int:
    process.kill()
    return process.wait()


class ForkedProcess:
    """The parent's side of a forked process.

    Attributes:
        connection: Connection to the function that the process runs.
    """

    def __init__(self, server: ForkServer, connection: Connection, status: Connection, messages: IO[bytes]) -> None:
        self.connection = connection
        self._server = server
        self._status = status
        self._messages = messages
        weakref.finalize(self, messages.close)
        self._exit_status: int | None = None
        self._lock = threading.Lock()

    def receive(self) -> Any:
        """Returns the next message; raises EOFError if the process has ended, also in the middle of a message."""
        try:
            return self.connection.recv()
        except OSError as error:
            raise EOFError(str(error)) from error

    @property
    def alive(self) -> bool:
        """Whether neither the process nor its server has ended."""
        return self._exit_status is None and not self._status.poll()

    def kill(self, pid: int | None) -> None:
        """End the process and wait for its end; if its id is not known yet (None), end the server instead."""
        if self.alive:
            if pid is None:
                self._server.end()
            else:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Waits for the end; returns the exit status as in `subprocess`, the server's if the server ended first."""
        with self._lock:
            if self._exit_status is None:
                try:
                    self._exit_status = int(self._status.recv())
                except EOFError:
                    self._exit_status = self._server.end()
            return self._exit_status

    def last_words(self) -> str:
        """Returns the last line that the process wrote to standard error; if there is none, the server's last line."""
        return _last_line(self._messages) or self._server.last_words()

    def close(self) -> None:
        """Close the connection, the pipe and the file of messages."""
        self.connection.close()
        self._status.close()
        self._messages.close()


def _last_line(messages: IO[bytes]) -> str:
    messages.seek(0)
    return "".join(messages.read().decode(errors="replace").strip().splitlines()[-1:])


def fork_on_request(
    control: int, parent: int, idle_seconds: float, function: Callable[[Connection, int], None]
) -> None:
    """The server's side: fork a process for each request, and report how each process ended.

    Args:
        control: Socket that brings the requests. Each is one byte with three handles for the new process: its
            connection, a pipe for its exit status, and a file for its standard error.
        parent: Process id of the parent; the server ends when the parent does.
        idle_seconds: As in `ForkServer`.
        function: As in `ForkServer`.
    """
    tellers: dict[int, Connection] = {}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what ends
    signal.signal(signal.SIGCHLD, lambda *_: _report_ended(tellers))
    gc.freeze()  # keeps the collectors of forked processes from writing to the memory that they share with the server
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
            _fork(handles, requests, tellers, function)


def _report_ended(tellers: dict[int, Connection]) -> None:
    """Send the exit status of each process that has ended, and remove its pipe.

    Args:
        tellers: Pipe for the exit status of each living process, by process id.
    """
    while tellers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with tellers.pop(pid) as teller, suppress(BrokenPipeError):
            teller.send(os.waitstatus_to_exitcode(status))


def _fork(
    handles: list[int],
    requests: socket.socket,
    tellers: dict[int, Connection],
    function: Callable[[Connection, int], None],
) -> None:
    """Fork a process that runs the function, and add its pipe; SIGCHLD waits until the pipe is there.

    Args:
        handles: Connection, exit status and standard error of the new process.
        requests: The server's socket, which the new process closes.
        tellers: Pipe for the exit status of each living process, by process id.
        function: As in `ForkServer`.
    """
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
    """Run the function as the forked process, then end the process."""
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
