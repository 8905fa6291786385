"""The parent's side of the child processes: starts one child per thread, talks to it, and finds out how it ended."""

import pickle
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from cache.audio.decoding import DECODER
from cache.computing.child import PartPublished, serve
from cache.computing.part import Event, Finished, Reading, Source
from cache.config.features import FeatureConfig
from cache.isolation.endings import describe_ending, is_from_outside
from cache.isolation.fork_server import ForkServer
from cache.isolation.kept_server import KeptServer
from cache.isolation.messages import Raised, Ready
from cache.store.fragment import Failure
from cache.workspace.feature_directory import FeatureDirectory

READ_SECONDS = 600.0
"""Time for one file to be read, in which a request to an object store is repeated; no recording is blamed."""
_ATTEMPTS = 2
ATTEMPTS_IF_KILLED = 5  # somebody else ended the child, so the recording is probably not the reason
START_SECONDS = 120.0
"""Time for a new child to start on a busy machine, and at least for the load of a model; no recording is blamed."""
# imported before the memory limit is set, which might forbid to load them later: FFmpeg decodes, Zarr writes parts
_IMPORTS = ("av.filter", "zarr")


class ChildDiedError(RuntimeError):
    """A child ended while it computed.

    Attributes:
        source: Recording that the child was decoding; None: it was at no recording.
        failure: Failure to record for the recording after `attempts` deaths; None: record nothing, because somebody
            else ended the children.
        attempts: Deaths after which the computation goes on without the recording.
    """

    def __init__(self, source: Source | None, failure: Failure | None, detail: str, attempts: int = _ATTEMPTS) -> None:
        super().__init__(detail)
        self.source = source
        self.failure = failure
        self.attempts = attempts


class Child:
    """The parent's side of one child process."""

    def __init__(self, server: ForkServer) -> None:
        self._process = server.fork()
        self._pid: int | None = None

    @property
    def alive(self) -> bool:
        """Whether the process and its server run."""
        return self._process.alive

    def compute(
        self, sources: Sequence[Source], features: FeatureConfig, store: FeatureDirectory, refused: dict[str, Failure]
    ) -> Iterator[Event]:
        """Let the child compute a part; yields the events of its recordings. Unless the part ends, the child does.

        Raises:
            ChildDiedError: If the child dies, or takes too long over a recording.
            TimeoutError: If a file is not read in time.
        """
        latest: Event | None = None
        part_ended = False
        try:
            self._process.connection.send((sources, features, store, refused))
            while not isinstance(message := self._receive(latest, features), PartPublished | Raised):
                for event in message:
                    latest = event
                    yield event
            part_ended = True
        except (EOFError, ConnectionError, pickle.UnpicklingError) as error:
            raise self._died(latest) from error
        finally:
            if not part_ended:
                self.end()
        if isinstance(message, Raised):
            raise message.error

    def kill(self) -> None:
        """End the process; the thread that waits for the child learns of it from the connection."""
        self._process.kill(self._pid)

    def end(self) -> None:
        """End the process and close its connection."""
        self.kill()
        self._process.close()

    def _receive(self, latest: Event | None, features: FeatureConfig) -> Any:
        """Returns the child's next message about its part.

        Args:
            latest: What the child told last of its part. None: it has not begun the part; before, it loads the model,
                which counts for no recording.
            features: Front-end settings.

        Raises:
            ChildDiedError, TimeoutError: If no message comes in time.
            EOFError, ConnectionError, UnpicklingError: If the child has died.
        """
        while True:
            limit = self._limit(latest, features)
            if not self._process.connection.poll(limit):
                raise self._overdue(latest, limit)
            message = self._process.receive()
            if not isinstance(message, Ready):
                return message
            self._pid = message.pid

    def _limit(self, latest: Event | None, features: FeatureConfig) -> float:
        if not self._pid:
            return START_SECONDS
        if latest is None:
            return max(START_SECONDS, features.timeout_seconds)
        return max(READ_SECONDS, features.timeout_seconds) if isinstance(latest, Reading) else features.timeout_seconds

    def _overdue(self, latest: Event | None, limit: float) -> ChildDiedError | TimeoutError:
        if not self._pid:
            return ChildDiedError(None, None, f"A process that computes features did not start within {limit:g} s")
        if latest is None:
            detail = f"No recording of a part was begun within {limit:g} s, in which the model of embeddings is loaded"
            advice = f"if the machine is slow, set features.timeout_seconds={2 * limit:g}"
            return ChildDiedError(None, None, f"{detail}; {advice}")
        if isinstance(latest, Finished):
            return ChildDiedError(None, None, f"A part was not written within features.timeout_seconds={limit:g}")
        if isinstance(latest, Reading):
            return TimeoutError(
                f"{latest.source.address} was not read within {limit:g} s. Check the storage and the network, and run "
                "again: what is computed so far stays."
            )
        detail = f"not decoded within features.timeout_seconds={limit:g}"
        failure = Failure(latest.source.sha256, "timeout", detail, limit=limit, decoder=DECODER)
        return ChildDiedError(latest.source, failure, f"{latest.source.address}: {detail}")

    def _died(self, latest: Event | None) -> ChildDiedError:
        status = self._process.wait()
        ending = describe_ending(status)
        if latest is None or isinstance(latest, Finished):
            last_words = self._process.last_words()
            message = f"A process that computes features ended ({ending})" + (f": {last_words}" if last_words else "")
            return ChildDiedError(None, None, message, ATTEMPTS_IF_KILLED)
        source = latest.source
        if is_from_outside(status):
            message = f"{source.address}: its process was killed ({ending})"
            return ChildDiedError(source, None, message, ATTEMPTS_IF_KILLED)
        detail = f"its decoding ended the process ({ending})"
        failure = Failure(source.sha256, "crash", detail, decoder=DECODER)
        return ChildDiedError(source, failure, f"{source.address}: {detail}")


class Children:
    """The child of each thread that computes parts, and the server that forks them.

    Attributes:
        generation: How often `end` was called.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._server = KeptServer(serve, _IMPORTS)
        self._by_thread: dict[int, Child] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Start the server, if none runs with this process's environment."""
        with self._lock:
            self._server.living()

    def get(self, generation: int) -> Child:
        """Returns the living child of this thread, started if there is none.

        Raises:
            ChildDiedError: If `end` was called since the generation began.
        """
        with self._lock:
            if generation != self.generation:
                raise ChildDiedError(None, None, "The computation of features was stopped.", attempts=0)
            child = self._by_thread.get(threading.get_ident())
            if child is None or not child.alive:
                child = self._by_thread[threading.get_ident()] = Child(self._server.living())
            return child

    def end(self) -> None:
        """End all children; the next generation begins."""
        with self._lock:
            self.generation += 1
            for child in self._by_thread.values():
                child.kill()
            self._by_thread.clear()
