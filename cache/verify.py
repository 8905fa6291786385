"""Whether the store still holds what was written, and the audio is still what was hashed; damage is withdrawn."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import zarr

from cache.artefact import read_provenance
from cache.config import DataConfig, FeatureConfig
from cache.features import build_features, feature_recipe
from cache.fragment import Fragment
from cache.hashes import forget_hashes, hash_recordings
from cache.recordings import audio_directory, read_recordings
from cache.work import alone_at_work
from cache.writer import find_damaged_strips


@dataclass(frozen=True)
class Damage:
    """A part of the store that cannot be trusted.

    Attributes:
        part: Its id.
        problem: What is wrong with it.
        strips: sha256 of the audio whose strips are lost with it; empty if the fragment does not tell.
    """

    part: str
    problem: str
    strips: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        store: Feature directory.
        damages: Parts that are not as they were written.
        changed: Recordings whose audio changed without a trace in size and time.
    """

    store: Path
    damages: tuple[Damage, ...]
    changed: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages and not self.changed


def find_damage(store: Path, share: float, rng: np.random.Generator) -> Iterator[Damage]:
    """Yields the parts of a feature directory that are not as they were written.

    Args:
        store: Feature directory.
        share: Of the parts, chosen at random, in which every strip is read and compared with its digest; fragments
            and the existence of arrays are checked in all.
        rng: Chooses them.
    """
    fragments = {path.stem: path for path in sorted((store / "index").glob("*.json"))}
    arrays = {path.name for path in (store / "parts").iterdir() if not path.name.startswith(".")}
    for part in sorted(arrays - fragments.keys()):
        yield Damage(part, "the index fragment is missing")
    read = rng.random(len(fragments)) < share
    for (part, path), whole in zip(fragments.items(), read, strict=True):
        try:
            fragment = Fragment.read(path)
        except (ValueError, TypeError, KeyError) as error:
            yield Damage(part, f"the index fragment cannot be read ({error})")
            continue
        problem = _check_part(store, part, fragment, whole=bool(whole))
        if problem:
            yield Damage(part, problem, tuple(strip.sha256 for strip in fragment.strips))


def find_changed_audio(recordings: pd.DataFrame, audio: Path, workspace: Path) -> list[str]:
    """Returns the recordings whose file has other bytes than its path, size and modification time stood for.

    What was remembered of them is forgotten, so that the next build takes the file for what it is.

    Args:
        recordings: Of `read_recordings`.
        audio: Audio folder.
        workspace: Where the hashes are remembered.
    """
    remembered = hash_recordings(recordings, audio, workspace)
    forget_hashes(audio, workspace)
    true = hash_recordings(recordings, audio, workspace)
    return sorted(recordings.loc[(remembered != true).to_numpy(), "recording_id"])


def verify(
    data: DataConfig, features: FeatureConfig, workspace: Path, share: float, seed: int = 0, *, repair: bool
) -> Verdict:
    """Returns what is wrong with the features of a data set; with `repair` it is computed again, and nothing else is.

    Args:
        data: Data set.
        features: Whose store is checked.
        workspace: Where artefacts lie.
        share: Of the parts that are read whole.
        seed: Of their choice.
        repair: Whether to withdraw what is damaged and build the features.

    Raises:
        FileNotFoundError: If the features were never built.
        AtWorkError: If something is being built in the workspace, so that nothing can be withdrawn.
    """
    store = feature_recipe(features).directory(workspace)
    read_provenance(store)
    damages = tuple(find_damage(store, share, np.random.default_rng(seed)))
    changed = tuple(find_changed_audio(read_recordings(data), audio_directory(data), workspace))
    if repair:
        with alone_at_work(workspace):
            for damage in damages:
                withdraw(store, damage)
        build_features(data, features, workspace)
    return Verdict(store, damages, changed)


def withdraw(store: Path, damage: Damage) -> None:
    """Take a damaged part out of the store: its strips are missing then, and the next build computes them."""
    (store / "index" / f"{damage.part}.json").unlink(missing_ok=True)
    shutil.rmtree(store / "parts" / damage.part, ignore_errors=True)


def _check_part(store: Path, part: str, fragment: Fragment, *, whole: bool) -> str:
    """Returns what is wrong with a part, empty if nothing is."""
    if fragment.identity != part:
        return f"the index fragment describes another part, {fragment.identity}"
    directory = store / "parts" / part
    if not directory.is_dir():
        return "the array is missing"
    try:
        array = zarr.open_array(str(directory), mode="r")
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        return f"the array cannot be opened ({error})"
    if array.attrs.get("features") != store.name:
        return f"the array belongs to features {array.attrs.get('features')}"
    frames = sum(strip.frames for strip in fragment.strips)
    channels = read_provenance(store)["config"]["n_mels"]
    if array.shape != (frames, channels):
        return f"the array has shape {array.shape}, not {(frames, channels)}"
    chunk = array.chunks[0]
    missing = [row for row in range(0, frames, chunk) if not (directory / "c" / str(row // chunk) / "0").is_file()]
    if missing:
        return f"{len(missing)} of {-(-frames // chunk)} chunks are missing"
    damaged = find_damaged_strips(directory, fragment) if whole else []
    return f"{len(damaged)} of {len(fragment.strips)} strips differ from their digest" if damaged else ""
