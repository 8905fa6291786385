"""The sha256 of every recording, remembered by path, size and modification time so that a rescan is cheap."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from cache.artefact import content_key, file_key, write_atomically

_HASHING_THREADS = 4
_IDENTITY = ["recording_id", "size", "mtime_ns"]


def hash_recordings(recordings: pd.DataFrame, audio: Path, workspace: Path) -> pd.Series:
    """Returns the sha256 of each recording's file, in the order of `recordings`.

    A file whose path, size and modification time are known is not read again. A file that cannot be read gets an
    empty hash.
    """
    memory = _memory_of(audio, workspace)
    identity = recordings[_IDENTITY]
    known = _read_memory(memory)
    merged = identity.merge(known, on=_IDENTITY, how="left")
    unknown = merged["sha256"].isna()
    if unknown.any():
        with ThreadPoolExecutor(_HASHING_THREADS) as pool:
            paths = [audio / name for name in merged.loc[unknown, "recording_id"]]
            merged.loc[unknown, "sha256"] = list(pool.map(_hash_file, paths))
        updated = pd.concat([merged[merged["sha256"] != ""], known]).drop_duplicates("recording_id")
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory, updated.sort_values("recording_id").to_csv(index=False))
    return pd.Series(merged["sha256"].to_numpy(), index=recordings.index, name="sha256")


def find_changed(recordings: pd.DataFrame, audio: Path, workspace: Path) -> list[str]:
    """Returns the recordings whose bytes are not those that path, size and modification time stand for in memory.

    Every remembered file is read. A file that cannot be read is none of them.
    """
    known = _read_memory(_memory_of(audio, workspace))
    remembered = recordings[_IDENTITY].merge(known, on=_IDENTITY)
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        true = pd.Series(list(pool.map(_hash_file, [audio / name for name in remembered["recording_id"]])), dtype=str)
    changed = (true != "") & (true != remembered["sha256"])
    return sorted(remembered.loc[changed.to_numpy(bool), "recording_id"])


def forget_hashes(audio: Path, workspace: Path) -> None:
    """Forget all hashes of an audio folder, so that its files are read again."""
    _memory_of(audio, workspace).unlink(missing_ok=True)


def _memory_of(audio: Path, workspace: Path) -> Path:
    return workspace / "hashes" / f"{content_key(str(audio.resolve()))}.csv"


def _read_memory(memory: Path) -> pd.DataFrame:
    text = memory.read_text() if memory.is_file() else ",".join([*_IDENTITY, "sha256"]) + "\n"
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    return table.astype({"size": "int64", "mtime_ns": "int64"})


def _hash_file(path: Path) -> str:
    try:
        return file_key(path)
    except OSError:
        return ""
