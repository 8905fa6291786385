"""Parts computed in child processes, so that a recording which kills or blocks its process costs only itself.

A child computes one part after the other. If a child dies, or takes too long over a recording, the part is computed
again in a new child. A recording that ends two children is recorded as a failure, and the part goes on without it. If
children are killed from outside five times at the same recording, this build leaves the recording out and records
nothing, so the next build tries it again.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

from cache.computing.children import ChildDiedError, Children
from cache.computing.part import Finished, Source
from cache.config.features import FeatureConfig
from cache.store.fragment import Failure
from cache.workspace.feature_directory import FeatureDirectory

logger = logging.getLogger(__name__)

_KILLED = (
    "its process was killed from outside {} times, as when memory runs out: see dmesg, lower features.workers or "
    "features.memory_gb. The next build tries it again"
)

_children = Children()


def retry_part(sources: Sequence[Source], features: FeatureConfig, store: FeatureDirectory) -> Iterator[Finished]:
    """Compute and publish a part in this thread's child process; yields each recording once it is done.

    Args:
        sources: Recordings of the part.
        features: Front-end settings.
        store: Feature directory.

    Raises:
        OSError: If the part cannot be written.
        ChildDiedError: If children keep dying while they are at no recording, or `end_children` was called.
    """
    told: set[str] = set()
    deaths: Counter[tuple[str, int]] = Counter()
    refused: dict[str, Failure] = {}
    generation = _children.generation
    while sources:  # all may be left out
        try:
            for event in _children.get(generation).compute(sources, features, store, refused):
                if isinstance(event, Finished) and event.source.sha256 not in told:
                    told.add(event.source.sha256)
                    yield event
        except ChildDiedError as death:
            if left_out := _judge_death(death, deaths, refused):
                sources = [source for source in sources if source.sha256 != left_out.sha256]
                told.add(left_out.sha256)
                yield Finished(left_out, reason="unreadable", detail=_KILLED.format(death.attempts))
        else:
            return


def _judge_death(death: ChildDiedError, deaths: Counter[tuple[str, int]], refused: dict[str, Failure]) -> Source | None:
    """Returns the recording that this build must leave out; None: the part is computed again with all of them.

    Args:
        death: The newest death.
        deaths: Deaths so far by recording (empty for none) and limit of attempts; the newest one is added.
        refused: Failures by sha256; a recording that ended too many children is added.

    Raises:
        ChildDiedError: If children keep dying while they are at no recording.
    """
    name = death.source.sha256 if death.source else ""
    deaths[name, death.attempts] += 1
    if deaths[name, death.attempts] < death.attempts:
        logger.warning("%s; its part is computed again", death)
        return None
    if death.failure:
        logger.warning("%s; it goes to quarantine", death)
        refused[name] = death.failure
        return None
    if death.source is None:
        raise death
    logger.warning("%s; this build leaves it out", death)
    return death.source


def prepare_children() -> None:
    """Start the fork server now, so that it imports its modules while this process does other work."""
    _children.prepare()


def end_children() -> None:
    """End the child processes of all threads, with the computations that still run in them."""
    _children.end()
