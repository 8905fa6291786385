"""Which recordings of a data set hold the same sound, in the same bytes or in others."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cache.artefact import write_atomically
from cache.mirror import Mirror
from cache.similarity import Alignment, align_strips, find_candidates, fingerprint_from_text
from cache.store import StripStore

SAME_BYTES = "same bytes"
SAME_SOUND = "same sound"
SAME_TAKE = "same label, recordist and duration"
_AUDIO = ["sha256", "other_sha256"]
_ALIGNMENT = ["lag_seconds", "overlap_seconds", "similarity"]
_COLUMNS = ["recording_id", "other_recording_id", "label", "other_label", "why", *_ALIGNMENT]


def find_duplicates(
    recordings: pd.DataFrame, strips: StripStore, frames_per_second: float, memory: Path, workspace: Path
) -> pd.DataFrame:
    """Returns the pairs of recordings that are likely to hold the same sound, in ascending order.

    Each recording is paired with the first that has the same bytes, with each of another file that has the same sound
    (`similarity.py`), and with the first that has the same label, recordist and duration, if it is not paired yet.

    Args:
        recordings: recording_id, sha256, label, recordist and seconds.
        strips: Store with their strips.
        frames_per_second: Of the strips.
        memory: File that remembers comparisons of strips, so that a grown data set is not compared all over again.
        workspace: Where it lies.

    Returns:
        recording_id, other_recording_id, label, other_label, why, lag_seconds (how much later the sound comes in the
        first of them), overlap_seconds and similarity; the last three are NaN where strips were not compared.
    """
    ordered = recordings.sort_values("recording_id", ignore_index=True)
    audio = ordered.drop_duplicates("sha256")
    compared = _compare(sorted(audio["sha256"]), strips, frames_per_second, memory, workspace)
    name_of = dict(zip(audio["sha256"], audio["recording_id"], strict=True))
    similar = pd.DataFrame(
        {
            "recording_id": compared["sha256"].map(name_of),
            "other_recording_id": compared["other_sha256"].map(name_of),
            "why": SAME_SOUND,
            **{name: compared[name] for name in _ALIGNMENT},
        }
    )
    swapped = similar["recording_id"] > similar["other_recording_id"]
    names = ["recording_id", "other_recording_id"]
    similar.loc[swapped, names] = similar.loc[swapped, names[::-1]].to_numpy()
    similar.loc[swapped, "lag_seconds"] *= -1
    pairs = pd.concat(
        [
            _pair_with_first(ordered, ["sha256"], SAME_BYTES),
            similar,
            _pair_with_first(ordered, ["label", "recordist", "seconds"], SAME_TAKE),
        ]
    )
    label_of = ordered.set_index("recording_id")["label"]
    pairs = pairs.assign(
        label=pairs["recording_id"].map(label_of), other_label=pairs["other_recording_id"].map(label_of)
    )
    return pairs.drop_duplicates(names).sort_values(names, ignore_index=True)[_COLUMNS]


def name_sounds(recordings: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Returns for each recording the first one that holds its sound, directly or by way of others, or itself.

    Args:
        recordings: recording_id.
        pairs: Of `find_duplicates`; those that only share label, recordist and duration do not count.
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
    """Returns each recording that shares keys with an earlier one, beside the first of these."""
    first = ordered.groupby(keys, sort=False)["recording_id"].transform("first")
    later = first != ordered["recording_id"]
    pairs = {"recording_id": first[later], "other_recording_id": ordered.loc[later, "recording_id"], "why": why}
    return pd.DataFrame({**pairs, **dict.fromkeys(_ALIGNMENT, np.nan)})


def _compare(
    hashes: list[str], strips: StripStore, frames_per_second: float, memory: Path, workspace: Path
) -> pd.DataFrame:
    """Returns how the strips fit that hold the same sound: sha256, other_sha256 and their alignment."""
    candidates = find_candidates([fingerprint_from_text(strips.strips[sha256].fingerprint) for sha256 in hashes])
    pairs = [(hashes[first], hashes[second]) for first, second in candidates]
    wanted = pd.DataFrame(pairs, columns=_AUDIO, dtype="str")
    known = _read_memory(memory, workspace)
    compared = wanted.merge(known, on=_AUDIO, how="left")
    new = compared["similarity"].isna()
    if new.any():
        aligned = [
            align_strips(strips.read(first), strips.read(second), frames_per_second)
            for first, second in zip(compared.loc[new, "sha256"], compared.loc[new, "other_sha256"], strict=True)
        ]
        compared.loc[new, _ALIGNMENT] = [[getattr(alignment, name) for name in _ALIGNMENT] for alignment in aligned]
        text = pd.concat([known, compared[new]]).sort_values(_AUDIO).to_csv(index=False)
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory, text)
        if mirror := Mirror.of(workspace):
            mirror.write(memory, text.encode())
    same = [Alignment(*row).is_near_duplicate for row in compared[_ALIGNMENT].itertuples(index=False)]
    return compared[np.array(same, bool)]


def _read_memory(memory: Path, workspace: Path) -> pd.DataFrame:
    mirror = Mirror.of(workspace)
    content = mirror.read(memory) if mirror else memory.read_bytes() if memory.is_file() else None
    table = pd.read_csv(io.BytesIO(content or ",".join([*_AUDIO, *_ALIGNMENT]).encode()), keep_default_na=False)
    return table.astype({**dict.fromkeys(_AUDIO, "str"), **dict.fromkeys(_ALIGNMENT, "float64")})
