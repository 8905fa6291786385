"""Stage 1: recordings to strips, computed in parallel with Dask, and the catalogue that points at them."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from cache import mel
from cache.artefact import Recipe, is_finished, write_provenance
from cache.catalogue import build_catalogue
from cache.config import DataConfig, FeatureConfig
from cache.hashes import hash_recordings
from cache.isolation import compute_part_apart, end_children
from cache.part import Finished, Source
from cache.progress import BuildProgress
from cache.recordings import audio_directory, read_recordings
from cache.store import StripStore
from cache.work import at_work

logger = logging.getLogger(__name__)

PART_RECORDINGS = 64
PART_BYTES = 32_000_000
_TOPIC = "birdclef-features"
_SECONDS_BETWEEN_EVENTS = 0.5  # each costs this machine's cores about 1.5 ms


def build_features(data: DataConfig, features: FeatureConfig, workspace: Path) -> Path:
    """Compute the strips that are missing; returns the directory of the data set's catalogue.

    Raises:
        FileNotFoundError, ValueError: If the data set cannot be read, or too much of it is unusable.
    """
    with at_work(workspace):
        recordings = read_recordings(data)
        audio = audio_directory(data).absolute()  # workers elsewhere run in other directories
        recordings["sha256"] = hash_recordings(recordings, audio, workspace)
        store = open_feature_directory(features, workspace.absolute())
        missing = find_missing(recordings, audio, StripStore(store), features)
        known = recordings["sha256"].nunique() - len(missing)
        logger.info("features: %d audio files to compute, %d from cache", len(missing), known)
        if missing:
            _compute(group_sources(missing), features, store)
        return build_catalogue(recordings, data, store, workspace)


def open_feature_directory(features: FeatureConfig, workspace: Path) -> Path:
    """Returns the store of a feature configuration, made empty if it does not exist."""
    recipe = feature_recipe(features)
    store = recipe.directory(workspace)
    if not is_finished(store):
        (store / "parts").mkdir(parents=True, exist_ok=True)
        (store / "index").mkdir(exist_ok=True)
        write_provenance(store, recipe, seconds=0.0)
    return store


def feature_recipe(features: FeatureConfig) -> Recipe:
    """Returns what defines the store of a feature configuration."""
    return Recipe("features", features.identity(), {}, mel.VERSION)


def find_missing(recordings: pd.DataFrame, audio: Path, store: StripStore, features: FeatureConfig) -> list[Source]:
    """Returns the audio that the store has not seen, or that a limit then lower stopped, once each, ordered by hash."""
    limits = {"timeout": features.timeout_seconds, "too_large": features.memory_gb}
    again = {
        sha256
        for sha256, failure in store.failures.items()
        if failure.limit is not None and failure.limit < limits[failure.reason]
    }
    sources = {
        sha256: Source(sha256, str(audio / name), int(size))
        for name, size, sha256 in zip(recordings["recording_id"], recordings["size"], recordings["sha256"], strict=True)
        if sha256 and (sha256 not in store or sha256 in again)
    }
    return [sources[sha256] for sha256 in sorted(sources)]


def group_sources(sources: Sequence[Source]) -> list[list[Source]]:
    """Returns the sources cut into parts, each closed once it is full.

    A part depends only on its own sources, so the groups that a killed build left are the same as they were.
    """
    groups: list[list[Source]] = [[]]
    for source in sources:
        group = groups[-1]
        group.append(source)
        if len(group) >= PART_RECORDINGS or sum(member.size for member in group) >= PART_BYTES:
            groups.append([])
    return [group for group in groups if group]


def _compute(groups: Sequence[Sequence[Source]], features: FeatureConfig, store: Path) -> None:
    """Run one Dask task per part, the heaviest first so that no worker idles at the end."""
    # Imported here so that a rerun with nothing to compute does not pay for Dask.
    from distributed import as_completed

    sizes = [sum(source.size for source in group) for group in groups]
    heaviest_first = sorted(range(len(groups)), key=lambda index: -sizes[index])
    with (
        _client(features) as client,
        BuildProgress(sum(len(group) for group in groups), sum(sizes)) as progress,
    ):
        client.subscribe_topic(_TOPIC, lambda event: progress.add(map(Finished.from_message, event[1]["finished"])))
        tasks = client.map(
            _compute_part, [groups[index] for index in heaviest_first], features=features, store=store, pure=False
        )
        for task in as_completed(tasks):
            task.result()


def _compute_part(sources: Sequence[Source], features: FeatureConfig, store: Path) -> None:
    """The Dask task: compute a part, telling the client twice a second which recordings are done."""
    from distributed import get_worker

    worker = get_worker()
    untold: list[dict[str, Any]] = []
    told = time.monotonic()
    for finished in compute_part_apart(sources, features, store):
        untold.append(asdict(finished))
        if time.monotonic() - told > _SECONDS_BETWEEN_EVENTS:
            worker.log_event(_TOPIC, {"finished": untold})
            untold, told = [], time.monotonic()
    worker.log_event(_TOPIC, {"finished": untold})


@contextmanager
def _client(features: FeatureConfig) -> Iterator[Any]:
    """Yields a client of the configured scheduler, or of threads here, each with a process to compute in."""
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    if features.cluster:
        try:
            remote = Client(features.cluster)
        except OSError as error:
            raise ConnectionError(
                f"No Dask scheduler answers at features.cluster={features.cluster} ({error}). Start one with `dask "
                "scheduler`, or set features.cluster=null to compute here."
            ) from error
        with remote:
            logger.info("features: Dask dashboard at %s", remote.dashboard_link)
            yield remote
        return
    try:
        with (
            dask.config.set({"distributed.dashboard.link": "http://127.0.0.1:{port}/status"}),
            LocalCluster(
                n_workers=1,
                threads_per_worker=features.workers or CPU_COUNT,
                processes=False,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
            ) as cluster,
            Client(cluster) as client,
        ):
            logger.info("features: Dask dashboard at %s", client.dashboard_link)
            yield client
    finally:
        end_children()
