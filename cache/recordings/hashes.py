"""The sha256 of every recording. It is remembered by path, size and version, so that a rescan is cheap."""

import hashlib
import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from cache.recordings.user_table import recording_address
from cache.workspace.keys import content_key, file_key
from cache.workspace.memory_table import read_memory, write_memory
from cache.workspace.urls import is_url, read_bytes, transfer
from cache.workspace.workspace import Workspace

_HASHING_THREADS = 4
_HASHING_BATCH = 32  # files per task: to pass one file to a thread takes as long as to hash the file
_IDENTITY = ["recording_id", "size", "version"]
_COLUMNS = [*_IDENTITY, "sha256"]


def hash_recordings(
    recordings: pd.DataFrame, audio: str, workspace: Workspace, before_reading: Callable[[], None] | None = None
) -> pd.Series:
    """Returns the sha256 of each recording's file, in the order of `recordings`.

    A file with known path, size and version is not read again. A file that cannot be read gets an empty hash.

    Args:
        recordings: recording_id, size and version of each file.
        audio: Path or URL of the audio folder.
        workspace: Workspace that keeps the hashes.
        before_reading: Is called before the first file is read; not called if all hashes are known.
    """
    memory = _memory_of(audio, workspace)
    identity = recordings[_IDENTITY]
    known = _recall(memory, workspace)
    merged = identity.merge(known, on=_IDENTITY, how="left")
    unknown = merged["sha256"].isna()
    if unknown.any():
        if before_reading:
            before_reading()
        merged.loc[unknown, "sha256"] = _hash_files(merged.loc[unknown, "recording_id"], audio)
        updated = pd.concat([merged[merged["sha256"] != ""], known]).drop_duplicates("recording_id")
        table = updated.sort_values("recording_id")[_COLUMNS]
        write_memory(memory, table.to_csv(index=False, lineterminator="\n").encode(), workspace)
    return pd.Series(merged["sha256"].to_numpy(), index=recordings.index, name="sha256")


def find_changed(recordings: pd.DataFrame, audio: str, workspace: Workspace) -> list[str]:
    """Returns the recording ids of the files whose content changed although path, size and version did not.

    Reads every file with a remembered hash. A file that cannot be read does not count as changed.
    """
    known = _recall(_memory_of(audio, workspace), workspace)
    remembered = recordings[_IDENTITY].merge(known, on=_IDENTITY)
    true = pd.Series(_hash_files(remembered["recording_id"], audio), dtype=str)
    changed = (true != "") & (true != remembered["sha256"])
    return sorted(remembered.loc[changed.to_numpy(bool), "recording_id"])


def forget_hashes(audio: str, workspace: Workspace) -> None:
    """Remove the remembered hashes of an audio folder, so that its files are read again."""
    workspace.remove(_memory_of(audio, workspace))


def _memory_of(audio: str, workspace: Workspace) -> Path:
    return workspace.directory / "hashes" / f"{content_key([audio, *_IDENTITY])}.csv"


def _recall(memory: Path, workspace: Workspace) -> pd.DataFrame:
    content = read_memory(memory, _COLUMNS, workspace)
    table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    return table.astype({"size": "int64"})


def _hash_files(names: Iterable[str], audio: str) -> list[str]:
    addresses = [recording_address(audio, name) for name in names]
    if is_url(audio):
        return transfer(_hash_file, addresses)
    batches = [addresses[start : start + _HASHING_BATCH] for start in range(0, len(addresses), _HASHING_BATCH)]
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        return [sha256 for batch in pool.map(_hash_batch, batches) for sha256 in batch]


def _hash_batch(addresses: Iterable[str]) -> list[str]:
    return [_hash_file(address) for address in addresses]


def _hash_file(address: str) -> str:
    try:
        return hashlib.sha256(read_bytes(address)).hexdigest() if is_url(address) else file_key(Path(address))
    except ConnectionError:
        raise
    except OSError:
        return ""
