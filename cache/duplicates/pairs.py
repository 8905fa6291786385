"""Finds the recordings of a data set that hold the same sound, in the same bytes or in other bytes."""

import io
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cache.duplicates.compared_log_mel import ComparedLogMel
from cache.duplicates.fingerprint import find_candidates, fingerprint_from_text
from cache.duplicates.same_sound import Alignment, align_strips
from cache.recordings.table_columns import TAKE_COLUMNS
from cache.store.strip_store import StripStore
from cache.workspace.memory_table import read_memory, write_memory
from cache.workspace.workspace import Workspace

SAME_BYTES = "same bytes"
SAME_SOUND = "same sound"
SAME_TAKE = "same label, recordist and duration"
_AUDIO = ["sha256", "other_sha256"]
_NAMES = ["recording_id", "other_recording_id"]
_ALIGNMENT = ["lag_seconds", "overlap_seconds", "similarity"]
_COLUMNS = ["recording_id", "other_recording_id", "label", "other_label", "why", *_ALIGNMENT]


def find_duplicates(
    recordings: pd.DataFrame, strips: StripStore, compared: ComparedLogMel, memory: Path, workspace: Workspace
) -> pd.DataFrame:
    """Returns the pairs of recordings that are likely to hold the same sound, in ascending order.

    A recording is paired with the first recording of the same bytes, with recordings that `same_sound.py` finds equal,
    until all of these are linked, and with the first recording of the same label, recordist and duration.

    Args:
        recordings: recording_id, sha256, label, recordist and seconds.
        strips: Store with the strips of the recordings.
        compared: Log-mel of the recordings.
        memory: File that remembers comparisons, so that known pairs of a grown data set are not compared again.
        workspace: Workspace of the file.

    Returns:
        recording_id, other_recording_id, label, other_label, why, lag_seconds (time by which the sound comes later in
        the first recording), overlap_seconds and similarity. The last three are NaN for pairs that were not compared.

    Raises:
        OSError, ValueError: As in `ComparedLogMel.read`.
    """
    ordered = recordings.sort_values("recording_id", ignore_index=True)
    audio = ordered.drop_duplicates("sha256")
    pairs = pd.concat(
        [
            _pair_with_first(ordered, ["sha256"], SAME_BYTES),
            _pair_by_sound(audio, strips, compared, _Memory(memory, workspace)),
            _pair_with_first(ordered, list(TAKE_COLUMNS), SAME_TAKE),
        ]
    )
    label_of = ordered.set_index("recording_id")["label"]
    labels = {"label": pairs["recording_id"].map(label_of), "other_label": pairs["other_recording_id"].map(label_of)}
    return pairs.assign(**labels).drop_duplicates(_NAMES).sort_values(_NAMES, ignore_index=True)[_COLUMNS]


def name_sounds(recordings: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Returns for each recording the first recording_id with the same sound, linked directly or through other pairs.

    Args:
        recordings: recording_id.
        pairs: Pairs from `find_duplicates`. Pairs that only share label, recordist and duration do not count.
    """
    names = np.sort(recordings["recording_id"].to_numpy(str))
    sure = pairs[pairs["why"] != SAME_TAKE]
    rows, columns = (
        np.searchsorted(names, sure[name].to_numpy(str)) for name in ("recording_id", "other_recording_id")
    )
    edges = coo_array((np.ones(len(sure)), (rows, columns)), shape=(len(names), len(names)))
    component: NDArray[np.int32] = connected_components(edges, directed=False)[1]
    first = names[np.unique(component, return_index=True)[1]]
    return pd.Series(
        first[component[np.searchsorted(names, recordings["recording_id"].to_numpy(str))]], recordings.index
    )


def _pair_with_first(ordered: pd.DataFrame, keys: list[str], why: str) -> pd.DataFrame:
    """Returns pairs of each recording that shares the keys with an earlier recording, and the first such recording."""
    first = ordered.groupby(keys, sort=False)["recording_id"].transform("first")
    later = first != ordered["recording_id"]
    pairs = {"recording_id": first[later], "other_recording_id": ordered.loc[later, "recording_id"], "why": why}
    return pd.DataFrame({**pairs, **dict.fromkeys(_ALIGNMENT, np.nan)})


def _pair_by_sound(
    audio: pd.DataFrame, strips: StripStore, compared: ComparedLogMel, memory: "_Memory"
) -> pd.DataFrame:
    """Returns pairs of the same sound, as many as link all such recordings: two pairs for three recordings.

    Args:
        audio: recording_id, sha256 and seconds, each sha256 once, sorted by recording_id.
        strips: Store with the strips.
        compared: Log-mel of the recordings.
        memory: Earlier comparisons; new ones are added.
    """
    located = [strips.strips[sha256] for sha256 in audio["sha256"]]
    first_of: dict[str, int] = {}
    rows = []
    seconds = audio["seconds"].tolist()
    for index, strip in enumerate(located):  # files that differ only in their tags have equal strips
        first = first_of.setdefault(strip.digest, index)
        if first != index:
            rows.append((first, index, 0.0, seconds[index], 1.0))
    distinct = list(first_of.values())
    linked = DisjointSet(distinct)
    for pair in find_candidates(fingerprint_from_text(located[index].fingerprint) for index in distinct):
        first, second = distinct[pair[0]], distinct[pair[1]]
        if linked.connected(first, second):
            continue
        one, other = sorted((located[first], located[second]), key=lambda strip: strip.sha256)
        alignment = memory.recall(one.sha256, other.sha256) or memory.keep(
            one.sha256,
            other.sha256,
            align_strips(compared.read(one.sha256), compared.read(other.sha256), compared.log_mel_config),
        )
        if alignment.is_near_duplicate:
            linked.merge(first, second)
            lag_seconds = alignment.lag_seconds if one is located[first] else -alignment.lag_seconds
            rows.append((first, second, lag_seconds, alignment.overlap_seconds, alignment.similarity))
    memory.save()
    pairs = pd.DataFrame(rows, columns=[*_NAMES, *_ALIGNMENT])
    return pairs.assign(
        why=SAME_SOUND, **{name: pairs[name].map(audio["recording_id"].tolist().__getitem__) for name in _NAMES}
    )


class _Memory:
    """Remembered comparisons by the sha256 of both files, in a file of the workspace."""

    def __init__(self, path: Path, workspace: Workspace) -> None:
        self._path = path
        self._workspace = workspace
        content = read_memory(path, [*_AUDIO, *_ALIGNMENT], workspace)
        table = pd.read_csv(io.BytesIO(content), dtype=str)
        values = zip(*(table[name].astype("float64") for name in _ALIGNMENT), strict=True)
        hashes = zip(table["sha256"], table["other_sha256"], strict=True)
        self._known = {pair: Alignment(*value) for pair, value in zip(hashes, values, strict=True)}
        self._grown = False

    def recall(self, sha256: str, other_sha256: str) -> Alignment | None:
        """Returns the alignment of two strips; None if it is not known."""
        return self._known.get((sha256, other_sha256))

    def keep(self, sha256: str, other_sha256: str, alignment: Alignment) -> Alignment:
        """Remembers the alignment of two strips, and returns it."""
        self._known[sha256, other_sha256] = alignment
        self._grown = True
        return alignment

    def save(self) -> None:
        """Write the file, if there are new alignments."""
        if not self._grown:
            return
        rows = [
            (*pair, *astuple(alignment)) for pair, alignment in sorted(self._known.items(), key=lambda item: item[0])
        ]
        text = pd.DataFrame(rows, columns=[*_AUDIO, *_ALIGNMENT]).to_csv(index=False, lineterminator="\n")
        write_memory(self._path, text.encode(), self._workspace)
