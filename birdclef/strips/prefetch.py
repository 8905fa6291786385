"""Gathers the crops of the next batch in a thread while the device works on the current batch."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Crops = TypeVar("Crops")


@dataclass(frozen=True)
class Batch:
    """The recordings of one training step.

    Attributes:
        epoch: Epoch of the batch.
        step: Step of the batch in its epoch.
        recordings: Index of each recording.
    """

    epoch: int
    step: int
    recordings: tuple[int, ...]


class Prefetcher(Generic[Crops]):
    """Gathers batches in the order of training, one batch in advance.

    Args:
        gather: Returns the crops of a batch. The result must not depend on earlier batches.
        following: Returns the batch that follows a batch in training.
    """

    def __init__(self, gather: Callable[[Batch], Crops], following: Callable[[Batch], Batch]) -> None:
        self._gather = gather
        self._following = following
        self._pool = ThreadPoolExecutor(1)
        self._ahead: tuple[Batch, Future[Crops]] | None = None

    def get(self, batch: Batch) -> Crops:
        """Returns the crops of a batch, and starts to gather the crops of the next batch."""
        expected, pending = self._ahead or (None, None)
        crops = pending.result() if pending and expected == batch else self._gather(batch)
        following = self._following(batch)
        self._ahead = following, self._pool.submit(self._gather, following)
        return crops
