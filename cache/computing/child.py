"""The child's side of process isolation: a process that computes one part after the other until nobody needs it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import cv2

from cache.computing.part import Event, Finished, Source, compute_part
from cache.front_end.strip import warm_up
from cache.isolation.kept_server import IDLE_SECONDS
from cache.isolation.limits import end_with, limit_memory
from cache.isolation.messages import Raised, Ready


@dataclass(frozen=True)
class PartPublished:
    """Message: the part is visible in the store."""


def serve(connection: Connection, server: int) -> None:
    """Compute parts until the parent closes the connection, sends nothing for a while, or the server is gone.

    Args:
        connection: Connection to the parent. It brings the arguments of `compute_part`; lists of its events go
            back, and one `PartPublished` or `Raised` at the end of each part.
        server: Process id of the fork server.
    """
    end_with(server)
    cv2.setNumThreads(1)
    connection.send(Ready(os.getpid()))
    while connection.poll(IDLE_SECONDS):
        try:
            sources, features, store, refused = connection.recv()
        except EOFError:
            return
        outcome: Any = PartPublished()
        try:
            warm_up(features, store)
            limit_memory(features.memory_gb)
            for events in _group_events(compute_part(sources, features, store, refused), sources[-1]):
                connection.send(events)
        except Exception as error:  # the parent raises it again
            outcome = Raised.from_error(error)
        connection.send(outcome)


def _group_events(events: Iterator[Event], last: Source) -> Iterator[list[Event]]:
    """Yields events in groups: the end of a recording goes with the start of the next one.

    A message takes as long as hashing a file, so two messages per recording are cheaper than three.
    """
    untold: list[Event] = []
    for event in events:
        untold.append(event)
        if not isinstance(event, Finished) or event.source == last:
            yield untold
            untold = []
