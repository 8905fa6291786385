"""Stage 1: recordings to strips, computed in parallel with Dask, and the catalogue that points at them."""

import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from cache import mel
from cache.artefact import Recipe, is_finished, write_provenance
from cache.catalogue import build_catalogue
from cache.config import DataConfig, FeatureConfig
from cache.hashes import hash_recordings
from cache.mel import compute_log_mel
from cache.recordings import audio_directory, read_recordings
from cache.store import PartWriter, StripStore
from cache.waveform import UnusableAudioError, decode_waveform

logger = logging.getLogger(__name__)

PART_RECORDINGS = 64
PART_BYTES = 32_000_000


@dataclass(frozen=True)
class Source:
    """One audio file to compute: its hash, where it lies, and its size in bytes."""

    sha256: str
    path: str
    size: int


def build_features(data: DataConfig, features: FeatureConfig, workspace: Path) -> Path:
    """Compute the strips that are missing; returns the directory of the data set's catalogue.

    Raises:
        FileNotFoundError, ValueError: If the data set cannot be read, or too much of it is unusable.
    """
    recordings = read_recordings(data)
    audio = audio_directory(data)
    recordings["sha256"] = hash_recordings(recordings, audio, workspace)
    store = open_feature_directory(features, workspace)
    missing = find_missing(recordings, audio, StripStore(store))
    known = recordings["sha256"].nunique() - len(missing)
    logger.info("features: %d audio files to compute, %d from cache", len(missing), known)
    if missing:
        _compute(group_sources(missing), features, store)
    return build_catalogue(recordings, data, store, workspace)


def open_feature_directory(features: FeatureConfig, workspace: Path) -> Path:
    """Returns the store of a feature configuration, made empty if it does not exist."""
    recipe = Recipe("features", features.identity(), {}, mel.VERSION)
    store = recipe.directory(workspace)
    if not is_finished(store):
        (store / "parts").mkdir(parents=True, exist_ok=True)
        (store / "index").mkdir(exist_ok=True)
        write_provenance(store, recipe, seconds=0.0)
    return store


def find_missing(recordings: pd.DataFrame, audio: Path, store: StripStore) -> list[Source]:
    """Returns the audio that the store has not seen, once per content, ordered by hash."""
    sources = {
        sha256: Source(sha256, str(audio / name), int(size))
        for name, size, sha256 in zip(recordings["recording_id"], recordings["size"], recordings["sha256"], strict=True)
        if sha256 and sha256 not in store
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


def compute_part(sources: Sequence[Source], features: FeatureConfig, store: Path) -> int:
    """Decode a group of recordings and publish its part; returns the number of sources.

    A file that vanished or changed since it was hashed is left out; the catalogue lists it as unreadable.
    """
    writer = PartWriter(store, features.n_mels)
    for source in sources:
        try:
            audio = Path(source.path).read_bytes()
        except OSError as error:
            logger.warning("%s: unreadable (%s)", source.path, error)
            continue
        if hashlib.sha256(audio).hexdigest() != source.sha256:
            logger.warning("%s: changed while the features were built", source.path)
            continue
        try:
            waveform = decode_waveform(audio, features.sample_rate)
        except UnusableAudioError as error:
            writer.add_failure(source.sha256, error.reason, error.detail)
            continue
        strip = compute_log_mel(waveform, features)
        if np.isfinite(strip).all():
            writer.add_strip(source.sha256, strip)
        else:
            writer.add_failure(
                source.sha256, "non_finite", f"samples up to {np.abs(waveform).max():g} overflow in power"
            )
    writer.publish()
    return len(sources)


def _compute(groups: Sequence[Sequence[Source]], features: FeatureConfig, store: Path) -> None:
    """Run one Dask task per part, the heaviest first, with a progress bar in recordings."""
    # Imported here so that a rerun with nothing to compute does not pay for Dask.
    from distributed import Client, LocalCluster, as_completed

    heaviest_first = sorted(groups, key=lambda group: -sum(source.size for source in group))
    total = sum(len(group) for group in groups)
    with (
        _environment_kept(),
        LocalCluster(
            n_workers=_worker_count(features, len(groups)), threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
        tqdm(total=total, desc="log-mel", unit="recording", disable=not sys.stderr.isatty()) as progress,
    ):
        logger.info("features: Dask dashboard at %s", client.dashboard_link)
        tasks = client.map(compute_part, heaviest_first, features=features, store=store, pure=False, batch_size=64)
        for task in as_completed(tasks):
            progress.update(task.result())


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo what Dask's nannies set in this process for their workers: OMP_NUM_THREADS=1 would slow training down."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _worker_count(features: FeatureConfig, groups: int) -> int:
    from dask.system import CPU_COUNT

    return min(features.workers or CPU_COUNT, groups)
