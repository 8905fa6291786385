"""The fork server that a process keeps for one kind of work, with the environment of its children."""

import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from cache.isolation.fork_server import ForkServer

IDLE_SECONDS = 30.0
"""A server or a child without work ends itself after this time, so that none stays behind on workers elsewhere."""
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYDANTIC_DISABLE_PLUGINS": "__all__",  # the search for plugins takes 70 ms
    # glibc would give each buffer back to the system and fault its pages in again, some 10 ms per minute of audio
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_ARENA_MAX": "1",  # glibc would reserve 64 MB for each thread, and the memory limit counts them
}
# glibc copies by `rep movsb`, which on AMD takes up to nine times as long where the pages of both ends line up badly
_TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=1000000000"


class KeptServer:
    """A fork server that is started when it is needed, and anew if it has ended or the environment has changed.

    It outlives its children, so that the next work need not import again.

    Args:
        function: As in `ForkServer`.
        imports: As in `ForkServer`.
    """

    def __init__(self, function: Callable[[Connection, int], None], imports: Sequence[str]) -> None:
        self._function = function
        self._imports = imports
        self._server: ForkServer | None = None
        self._environment: dict[str, str] = {}

    def living(self) -> ForkServer:
        """Returns the server; one that runs with this process's environment."""
        environment = _child_environment()
        if self._server is None or not self._server.alive or self._environment != environment:
            if self._server:
                self._server.end()
            self._server = ForkServer(self._function, self._imports, environment, IDLE_SECONDS)
            self._environment = environment
        return self._server


def _child_environment() -> dict[str, str]:
    tunables = ":".join(filter(None, [os.environ.get("GLIBC_TUNABLES"), _TUNABLES]))
    # Dask adds temporary folders, whose names differ in each build
    folders = [entry for entry in sys.path if entry and "dask-scratch-space" not in entry]
    own = {"GLIBC_TUNABLES": tunables, "PYTHONPATH": os.pathsep.join(folders)}
    return {**os.environ, **_ENVIRONMENT, **own}
