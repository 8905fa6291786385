"""Parts computed in child processes, so that a recording which kills or blocks its process costs only itself.

A child computes one part after the other. If it dies, or takes too long over a recording, the part is computed again
in a new child; a recording that ends two children is recorded as a failure, and the part goes on without it. One whose
children are killed from outside five times is left out of this build and not recorded: the next one tries it again.
"""

import logging
import os
import pickle
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2

from cache.audio.decoding import DECODER
from cache.computing.fork_server import ForkServer
from cache.computing.part import Finished, Source, Started, compute_part
from cache.config.features import FeatureConfig
from cache.front_end.kinds import warm_up
from cache.store.fragment import Failure
from cache.workspace.feature_directory import FeatureDirectory

logger = logging.getLogger(__name__)

_ATTEMPTS = 2
ATTEMPTS_IF_KILLED = 5  # somebody else ended the child, so the recording is likely to have had no part in it
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
_KILLED = (
    "its process was killed from outside {} times, as when memory runs out: see dmesg, lower features.workers or "
    "features.memory_gb. The next build tries it again"
)
_START_SECONDS = 120.0  # for a new child on a busy machine; no recording's fault
_IDLE_SECONDS = 30.0  # an unused child ends itself, so that workers elsewhere keep none
# by whoever decodes by FFmpeg or writes a part, where a limit of memory might forbid it
_IMPORTS = ("av.filter", "zarr")
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYDANTIC_DISABLE_PLUGINS": "__all__",  # looking for them takes 70 ms
    # glibc would give each buffer back to the system and fault its pages in again, some 10 ms per minute of audio
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_ARENA_MAX": "1",  # each thread would reserve 64 MB of its own, which a limit of memory counts
}
# glibc copies by `rep movsb`, which on AMD takes up to nine times as long where the pages of both ends line up badly
_TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=1000000000"


class ChildDiedError(RuntimeError):
    """A child ended while it computed.

    Attributes:
        source: The recording it was at, if any.
        failure: What to record of this recording, if it ends this many children; None: nothing, others ended them.
        attempts: This many.
    """

    def __init__(self, source: Source | None, failure: Failure | None, detail: str, attempts: int = _ATTEMPTS) -> None:
        super().__init__(detail)
        self.source = source
        self.failure = failure
        self.attempts = attempts


@dataclass(frozen=True)
class _Raised:
    """An error that ended a part but not the child."""

    error: BaseException


@dataclass(frozen=True)
class _PartPublished:
    """The part is visible."""


@dataclass(frozen=True)
class _Ready:
    """The child has started; its process id."""

    pid: int


def compute_part_apart(
    sources: Sequence[Source], features: FeatureConfig, store: FeatureDirectory
) -> Iterator[Finished]:
    """Compute and publish a part in this thread's child process; yields each recording once it is done.

    Raises:
        OSError: If the part cannot be written.
        ChildDiedError: If children keep dying while they are at no recording, or `end_children` was called.
    """
    told: set[str] = set()
    deaths: Counter[tuple[str, int]] = Counter()
    refused: dict[str, Failure] = {}
    generation = _children.generation
    while True:
        try:
            for event in _children.get(generation).compute(sources, features, store, refused):
                if isinstance(event, Finished) and event.source.sha256 not in told:
                    told.add(event.source.sha256)
                    yield event
        except ChildDiedError as death:
            name = death.source.sha256 if death.source else ""
            deaths[name, death.attempts] += 1
            if deaths[name, death.attempts] < death.attempts:
                logger.warning("%s; its part is computed again", death)
            elif death.failure:
                logger.warning("%s; it goes to quarantine", death)
                refused[name] = death.failure
            elif death.source:
                logger.warning("%s; this build leaves it out", death)
                sources = [source for source in sources if source.sha256 != name]
                told.add(name)
                yield Finished(death.source, reason="unreadable", detail=_KILLED.format(death.attempts))
            else:
                raise
        else:
            return


def prepare_children() -> None:
    """Let the first child start sooner: what children import is imported beside what this process does meanwhile."""
    _children.prepare()


def end_children() -> None:
    """End the child processes of all threads, and the computations that still go on in them."""
    _children.end()


class _Child:
    """The parent's side of a child process."""

    def __init__(self, server: ForkServer) -> None:
        self._process = server.fork()
        self._pid: int | None = None

    @property
    def alive(self) -> bool:
        return self._process.alive

    def compute(
        self, sources: Sequence[Source], features: FeatureConfig, store: FeatureDirectory, refused: dict[str, Failure]
    ) -> Iterator[Started | Finished]:
        current: Source | None = None
        idle_again = False
        connection = self._process.connection
        try:
            connection.send((sources, features, store, refused))
            while True:
                limit = features.timeout_seconds if self._pid else _START_SECONDS
                if not connection.poll(limit):
                    raise self._overdue(current, limit)
                message = connection.recv()
                if isinstance(message, _Ready):
                    self._pid = message.pid
                    continue
                if isinstance(message, _PartPublished | _Raised):
                    idle_again = True
                    break
                for event in message:
                    current = event.source if isinstance(event, Started) else None
                    yield event
        except (EOFError, ConnectionError, pickle.UnpicklingError) as error:
            raise self._died(current) from error
        finally:
            if not idle_again:
                self.end()
        if isinstance(message, _Raised):
            raise message.error

    def kill(self) -> None:
        """End the process; the thread that waits for it learns of it from the connection."""
        self._process.kill(self._pid)

    def end(self) -> None:
        self.kill()
        self._process.close()

    def _overdue(self, source: Source | None, limit: float) -> ChildDiedError:
        if not self._pid:
            return ChildDiedError(None, None, f"A process that computes features did not start within {limit:g} s")
        if source is None:
            return ChildDiedError(None, None, f"A part was not written within features.timeout_seconds={limit:g}")
        detail = f"not decoded within features.timeout_seconds={limit:g}"
        failure = Failure(source.sha256, "timeout", detail, limit=limit, decoder=DECODER)
        return ChildDiedError(source, failure, f"{source.address}: {detail}")

    def _died(self, source: Source | None) -> ChildDiedError:
        status = self._process.wait()
        ending = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        if source is None:
            last_words = self._process.last_words()
            message = f"A process that computes features ended ({ending})" + (f": {last_words}" if last_words else "")
            return ChildDiedError(None, None, message, ATTEMPTS_IF_KILLED)
        if -status in _FROM_OUTSIDE:
            message = f"{source.address}: its process was killed ({ending})"
            return ChildDiedError(source, None, message, ATTEMPTS_IF_KILLED)
        detail = f"its decoding ended the process ({ending})"
        failure = Failure(source.sha256, "crash", detail, decoder=DECODER)
        return ChildDiedError(source, failure, f"{source.address}: {detail}")


class _Children:
    """The child of each thread that computes parts, and the server that forks them."""

    def __init__(self) -> None:
        self.generation = 0
        self._server: ForkServer | None = None
        self._by_thread: dict[int, _Child] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        with self._lock:
            self._living_server()

    def get(self, generation: int) -> _Child:
        with self._lock:
            if generation != self.generation:
                raise ChildDiedError(None, None, "The computation of features was stopped.", attempts=0)
            child = self._by_thread.get(threading.get_ident())
            if child is None or not child.alive:
                child = self._by_thread[threading.get_ident()] = _Child(self._living_server())
            return child

    def end(self) -> None:
        with self._lock:
            self.generation += 1
            for child in self._by_thread.values():
                child.kill()
            self._by_thread.clear()
            if self._server:
                self._server.end()
            self._server = None

    def _living_server(self) -> ForkServer:
        if self._server is None or not self._server.alive:
            tunables = ":".join(filter(None, [os.environ.get("GLIBC_TUNABLES"), _TUNABLES]))
            self._server = ForkServer(serve, _IMPORTS, {**_ENVIRONMENT, "GLIBC_TUNABLES": tunables}, _IDLE_SECONDS)
        return self._server


_children = _Children()


def serve(connection: Connection, server: int) -> None:
    """The child's side: compute parts until the server, a process id, is gone or nothing is asked for a while."""
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    cv2.setNumThreads(1)
    connection.send(_Ready(os.getpid()))
    while connection.poll(_IDLE_SECONDS):
        try:
            sources, features, store, refused = connection.recv()
        except EOFError:
            return
        outcome: Any = _PartPublished()
        try:
            warm_up(features, store)
            _limit_memory(features)
            for events in _group_events(compute_part(sources, features, store, refused), sources[-1]):
                connection.send(events)
        except Exception as error:  # it is raised again in the parent
            outcome = _Raised(_sendable(error))
        connection.send(outcome)


def _group_events(events: Iterator[Started | Finished], last: Source) -> Iterator[list[Started | Finished]]:
    """Yields that a recording is done together with the start of the next, for a message costs as much as a hash."""
    untold = []
    for event in events:
        untold.append(event)
        if isinstance(event, Started) or event.source == last:
            yield untold
            untold = []


def _end_with(parent: int) -> None:
    """End this process soon after its parent, even in the middle of a recording that never ends."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    except Exception:  # whatever keeps a foreign error from being sent
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _limit_memory(features: FeatureConfig) -> None:
    """Let allocations fail beyond the limit for one recording, where the system tells what is in use already."""
    usage = Path("/proc/self/statm")
    if usage.exists():
        in_use = int(usage.read_text().split()[0]) * resource.getpagesize()
        limit, (_, hard) = in_use + round(features.memory_gb * 1e9), resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
