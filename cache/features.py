"""Stage 1: turns recordings into strips, in parallel with Dask, and builds the catalogue of the data set."""

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from cache.audio.decoding import DECODER
from cache.catalogue import build_catalogue
from cache.computing.part import Finished, Source
from cache.computing.progress import BuildProgress
from cache.computing.retries import end_children, prepare_children, retry_part
from cache.config.data import DataConfig
from cache.config.features import FeatureConfig
from cache.front_end.strip import equip_store, front_end_version
from cache.recordings.hashes import hash_recordings
from cache.recordings.user_table import audio_directory, read_user_table, recording_address
from cache.store.fragment import Failure
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import Recipe
from cache.workspace.provenance import is_finished
from cache.workspace.urls import is_url
from cache.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

PART_RECORDINGS = 64
PART_BYTES = 32_000_000
_LOCAL = {
    "distributed.dashboard.link": "http://127.0.0.1:{port}/status",
    "distributed.worker.profile.enabled": False,  # the threads only wait for their child processes
    "distributed.admin.tick.interval": "1s",
    "distributed.scheduler.work-stealing": False,  # there is only one worker
}
"""Dask settings for a local cluster. They switch off Dask's background work, which costs 5 % of a core."""
WORKER_SECONDS = 120.0
"""Time that a build waits for the first worker of a scheduler."""
_SECONDS_BETWEEN_EVENTS = 0.5  # each event costs about 1.5 ms of this machine's cores


def build_features(data: DataConfig, features: FeatureConfig, workspace: Workspace) -> Path:
    """Computes the missing strips; returns the directory of the data set's catalogue.

    Args:
        data: Data set.
        features: Features to compute.
        workspace: Workspace of the feature store and the catalogue.

    Raises:
        FileNotFoundError, ValueError: If the data set cannot be read, or too much of it is unusable.
    """
    with workspace.at_work():
        table = read_user_table(data)
        if table.accepted:
            logger.info("features: accepted in the table: %s", "; ".join(table.accepted))
        recordings = table.recordings
        recordings["sha256"], store = compute_strips(recordings, audio_directory(data), features, workspace)
        return build_catalogue(recordings, data, store, workspace)


def compute_strips(
    files: pd.DataFrame, audio: str, features: FeatureConfig, workspace: Workspace
) -> tuple[pd.Series, FeatureDirectory]:
    """Computes the missing strips of audio files; returns the sha256 of each file, and the feature directory.

    Args:
        files: recording_id, size and version of each file.
        audio: Path or URL of the folder of the files.
        features: Features to compute.
        workspace: Workspace of the feature store.
    """
    get_ready = None if features.cluster else prepare_children
    hashed = files.assign(sha256=hash_recordings(files, audio, workspace, before_reading=get_ready))
    store = open_feature_directory(features, workspace)
    missing = find_missing(hashed, audio, StripStore(store), features)
    known = hashed["sha256"].nunique() - len(missing)
    counts = {"to_compute": len(missing), "from_cache": known}
    logger.info("features: %d audio files to compute, %d from cache", len(missing), known, extra=counts)
    if missing:
        _compute(group_sources(missing), features, store)
    return hashed["sha256"], store


def open_feature_directory(features: FeatureConfig, workspace: Workspace) -> FeatureDirectory:
    """Returns the feature directory of a configuration; a new one is made if it does not exist."""
    recipe = feature_recipe(features)
    store = workspace.feature_directory(recipe.key)
    if not is_finished(store.path):
        workspace.materialise(recipe, lambda _: None)  # its files come later, so its provenance lists none
    for folder in ("parts", "index"):
        (store.path / folder).mkdir(exist_ok=True)
    equip_store(features, store)
    return store


def feature_recipe(features: FeatureConfig) -> Recipe:
    """Returns the recipe of the feature store of a configuration."""
    return Recipe("features", features.identity(), {}, front_end_version(features))


def find_missing(recordings: pd.DataFrame, audio: str, store: StripStore, features: FeatureConfig) -> list[Source]:
    """Returns the audio that must be computed, each sha256 once, ordered by sha256.

    That is audio that the store does not know, and audio whose failure may not come again.

    Args:
        recordings: recording_id, size and sha256 (empty for a file that cannot be read).
        audio: Path or URL of the audio folder.
        store: Strips and failures so far.
        features: Features to compute.
    """
    again = {sha256 for sha256, failure in store.failures.items() if _may_succeed(failure, features)}
    sources = {
        sha256: Source(sha256, recording_address(audio, name), int(size))
        for name, size, sha256 in zip(recordings["recording_id"], recordings["size"], recordings["sha256"], strict=True)
        if sha256 and (sha256 not in store or sha256 in again)
    }
    return [sources[sha256] for sha256 in sorted(sources)]


def _may_succeed(failure: Failure, features: FeatureConfig) -> bool:
    """Whether another attempt may succeed: the limit that it exceeded is higher now, or the decoder is newer."""
    if (failure.decoder or 0) < DECODER and failure.reason in {"undecodable", "empty", "too_large", "crash"}:
        return True
    limits = {"timeout": features.timeout_seconds, "too_large": features.memory_gb}
    return failure.limit is not None and failure.limit < limits[failure.reason]


def group_sources(sources: Sequence[Source]) -> list[list[Source]]:
    """Returns the sources of each part: a part takes sources in order until it is full.

    Where a part ends depends only on its own sources. So after a killed build the other parts are the same as before.
    """
    groups: list[list[Source]] = [[]]
    for source in sources:
        group = groups[-1]
        group.append(source)
        if len(group) >= PART_RECORDINGS or sum(member.size for member in group) >= PART_BYTES:
            groups.append([])
    return [group for group in groups if group]


def _compute(groups: Sequence[Sequence[Source]], features: FeatureConfig, store: FeatureDirectory) -> None:
    """Run one Dask task per part. The heaviest part goes first, so that no worker waits at the end.

    Args:
        groups: Recordings of each part.
        features: Front-end settings.
        store: Feature directory.
    """
    # Imported here so that a rerun with nothing to compute does not load Dask.
    from distributed import as_completed

    sizes = [sum(source.size for source in group) for group in groups]
    heaviest_first = sorted(range(len(groups)), key=lambda index: -sizes[index])
    with (
        _client(features) as client,
        BuildProgress(sum(len(group) for group in groups), sum(sizes)) as progress,
    ):
        topic = (
            f"birdclef-features-{uuid.uuid4().hex}"  # one topic per build, because a scheduler may serve several builds
        )
        client.subscribe_topic(topic, lambda event: progress.add(map(Finished.from_message, event[1]["finished"])))
        tasks = client.map(
            _compute_part,
            [groups[index] for index in heaviest_first],
            features=features,
            # workers on other machines cannot use this machine's mirror of a URL, so they make their own
            store=store.address if features.cluster else store,
            topic=topic,
            pure=False,
        )
        for task in as_completed(tasks):
            task.result()


def _compute_part(
    sources: Sequence[Source], features: FeatureConfig, store: FeatureDirectory | str, topic: str
) -> None:
    """The Dask task: compute a part, and report the finished recordings twice a second as events of a topic."""
    from distributed import get_worker

    worker = get_worker()
    untold: list[dict[str, Any]] = []
    told = time.monotonic()
    with store_here(store) as directory:
        if (key := feature_recipe(features).key) != directory.key:
            raise RuntimeError(
                f"The Dask worker at {worker.address} would write features {key} into {directory.address}, because "
                "another release of birdclef is installed there. Install the same release there as here."
            )
        for finished in retry_part(sources, features, directory):
            untold.append(asdict(finished))
            if time.monotonic() - told > _SECONDS_BETWEEN_EVENTS:
                worker.log_event(topic, {"finished": untold})
                untold, told = [], time.monotonic()
    worker.log_event(topic, {"finished": untold})


@contextmanager
def store_here(store: FeatureDirectory | str) -> Iterator[FeatureDirectory]:
    """Yields a feature directory that is given as such or by its address; a URL is mirrored in a temporary folder."""
    if not isinstance(store, str):
        yield store
    elif not is_url(store):
        yield FeatureDirectory(Path(store))
    else:
        workspace, _, key = store.rsplit("/", 2)
        with TemporaryDirectory() as folder:
            yield Workspace.open(workspace, Path(folder)).feature_directory(key)


@contextmanager
def _client(features: FeatureConfig) -> Iterator[Any]:
    """Yields a Dask client: of the configured scheduler, or of local threads that each use a child process."""
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
            try:
                remote.wait_for_workers(1, timeout=WORKER_SECONDS)
            except TimeoutError as error:
                raise ConnectionError(
                    f"The Dask scheduler at features.cluster={features.cluster} has had no worker for "
                    f"{WORKER_SECONDS:g} s. Start one with `dask worker {features.cluster}` where the package is "
                    "installed, or set features.cluster=null to compute here."
                ) from error
            logger.info("features: Dask dashboard at %s", remote.dashboard_link)
            yield remote
        return
    with (
        dask.config.set(_LOCAL),
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
        try:
            yield client
        finally:
            end_children()  # before the cluster waits for its threads, which wait for children
