"""The next batch's crops are gathered by a thread while the device works on this one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Crops = TypeVar("Crops")


@dataclass(frozen=True)
class Batch:
    """Which recordings a step sees.

    Attributes:
        epoch: Of the batch.
        step: Of the batch in its epoch.
        recordings: Their indices.
    """

    epoch: int
    step: int
    recordings: tuple[int, ...]


class Prefetcher(Generic[Crops]):
    """Gathers batches in the order of training, one ahead.

    Args:
        gather: Returns the crops of a batch; it must not depend on what was gathered before.
        following: Returns the batch after a batch.
    """

    def __init__(self, gather: Callable[[Batch], Crops], following: Callable[[Batch], Batch]) -> None:
        self._gather = gather
        self._following = following
        self._pool = ThreadPoolExecutor(1)
        self._ahead: tuple[Batch, Future[Crops]] | None = None

    def get(self, batch: Batch) -> Crops:
        """Returns the crops of a batch, and begins to gather those of the next."""
        expected, pending = self._ahead or (None, None)
        crops = pending.result() if pending and expected == batch else self._gather(batch)
        following = self._following(batch)
        self._ahead = following, self._pool.submit(self._gather, following)
        return crops
