"""Whether the store still holds what was written, and the audio is still what was hashed; damage is withdrawn."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from cache.config.data import DataConfig
from cache.config.features import FeatureConfig, read_features
from cache.features import build_features, feature_recipe
from cache.recordings.hashes import find_changed, forget_hashes, hash_recordings
from cache.recordings.table import audio_directory, read_recordings
from cache.store.encoding import StripEncoding
from cache.store.fragment import DamagedPartError, Fragment
from cache.store.part_array import PartRows
from cache.store.part_writer import copy_strips, find_damaged_strips
from cache.store.strip_store import StripStore, fetch_index, fetch_part
from cache.workspace.artefact import read_provenance
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

_Layout = tuple[int, int, StripEncoding]


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
        lost: sha256 of audio outside the data set that has no strip any more.
    """

    store: FeatureDirectory
    damages: tuple[Damage, ...]
    changed: tuple[str, ...]
    lost: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages and not self.changed


def find_damage(store: FeatureDirectory, share: float, rng: np.random.Generator) -> Iterator[Damage]:
    """Yields the parts of a feature directory that are not as they were written.

    Of a directory that mirrors a URL, all that is read is fetched anew.

    Args:
        store: Feature directory.
        share: Of the parts, chosen at random, in which every strip is read and compared with its digest; fragments
            and the existence of arrays are checked in all.
        rng: Chooses them.
    """
    if store.mirror:
        shutil.rmtree(store.path / "index", ignore_errors=True)
        fetch_index(store)
    arrays = _list_arrays(store)
    # listed after the arrays: a builder may publish parts meanwhile, and each array is there before its fragment
    fragments = {path.stem: path for path in sorted((store.path / "index").glob("*.json"))}
    for part in sorted(arrays - fragments.keys()):
        yield Damage(part, "the index fragment is missing")
    layout = _layout(read_features(read_provenance(store.path)["config"]))
    read = rng.random(len(fragments)) < share
    for (part, path), whole in zip(fragments.items(), read, strict=True):
        try:
            fragment = Fragment.read(path)
        except DamagedPartError as error:
            yield Damage(part, f"the index fragment cannot be read ({error})")
            continue
        problem = _find_fault_of_mirror(store, part, there=part in arrays, whole=bool(whole)) if store.mirror else ""
        here = not store.mirror or whole or (store.path / "parts" / part).is_dir()
        if not problem and here:
            problem = _check_part(store, part, fragment, layout, whole=bool(whole))
        if problem:
            yield Damage(part, problem, tuple(strip.sha256 for strip in fragment.strips))


def verify(
    data: DataConfig, features: FeatureConfig, workspace: Workspace, share: float, seed: int = 0, *, repair: bool
) -> Verdict:
    """Returns what is wrong with the features of a data set; with `repair` it is computed again, and nothing else is.

    Sound strips in a damaged part that are not of the data set's audio could not be made again from here: they go to a
    part of their own.

    Args:
        data: Data set.
        features: Whose store is checked.
        workspace: Where artefacts lie.
        share: Of the parts that are read whole.
        seed: Of their choice.
        repair: Whether to withdraw what is damaged and build the features.

    Raises:
        FileNotFoundError: If the features were never built.
        AtWorkError: If something is being built in the workspace, so that nothing could be withdrawn.
    """
    recipe = feature_recipe(features)
    store = workspace.feature_directory(recipe.key)
    read_provenance(store.path)
    recordings, audio = read_recordings(data), audio_directory(data)
    with workspace.alone_at_work() if repair else nullcontext():
        changed = tuple(find_changed(recordings, audio, workspace))
        damages = tuple(find_damage(store, share, np.random.default_rng(seed)))
        if not repair:
            return Verdict(store, damages, changed)
        if changed:
            forget_hashes(audio, workspace)
        others = {sha256 for damage in damages for sha256 in damage.strips}
        others.difference_update(hash_recordings(recordings, audio, workspace))
        kept = {_keep(store, damage.part, others, _layout(features)) for damage in damages}
        for damage in damages:
            if damage.part not in kept:  # a copy that a killed verify left may have been damaged, and is sound now
                _withdraw(store, damage.part)
    build_features(data, features, workspace)
    return Verdict(store, damages, changed, tuple(sorted(others - StripStore(store).strips.keys())))


def _keep(store: FeatureDirectory, part: str, audio: Collection[str], layout: _Layout) -> str | None:
    """Copy what a damaged part holds of some audio's strips and is sound to a part of its own; returns its id."""
    try:
        fragment = Fragment.read(store.path / "index" / f"{part}.json")
        array = _open_array(store, part, fragment, layout)
    except DamagedPartError:
        return None
    damaged = find_damaged_strips(array.directory, fragment)
    sound = [strip for strip in fragment.strips if strip.sha256 in audio and strip not in damaged]
    return copy_strips(store, part, sound, fragment.failures) if sound else None


def _withdraw(store: FeatureDirectory, part: str) -> None:
    """Take a part out of the store: its strips are missing then, and the next build computes them."""
    fragment, array = store.path / "index" / f"{part}.json", store.path / "parts" / part
    if store.mirror:
        store.mirror.remove(fragment)
        store.mirror.remove(array)
    fragment.unlink(missing_ok=True)
    shutil.rmtree(array, ignore_errors=True)


def _list_arrays(store: FeatureDirectory) -> set[str]:
    """Returns the ids of the parts whose arrays exist: at the URL if the directory mirrors one, else here."""
    parts = store.path / "parts"
    if store.mirror:
        return {name.partition("/")[0] for name in store.mirror.sizes(parts)}
    return {path.name for path in parts.glob("*") if not path.name.startswith(".")}


def _find_fault_of_mirror(store: FeatureDirectory, part: str, *, there: bool, whole: bool) -> str:
    """Returns what is wrong with a part at the URL, empty if nothing is; a part that is read whole is fetched anew."""
    if whole:
        return _fetch_anew(store, part)
    return "" if there else "the array is missing"


def _fetch_anew(store: FeatureDirectory, part: str) -> str:
    """Returns what is wrong with the array that the mirrored URL has, empty if nothing is."""
    shutil.rmtree(store.path / "parts" / part, ignore_errors=True)
    try:
        fetch_part(store, part)
    except DamagedPartError as error:
        return str(error).removesuffix(" Run birdclef verify.")
    return ""


def _check_part(store: FeatureDirectory, part: str, fragment: Fragment, layout: _Layout, *, whole: bool) -> str:
    """Returns what is wrong with a part, empty if nothing is."""
    if fragment.identity != part:
        return f"the index fragment describes another part, {fragment.identity}"
    try:
        array = _open_array(store, part, fragment, layout)
    except DamagedPartError as error:
        return str(error)
    missing = [chunk for chunk in array.chunks if not chunk.is_file()]
    if missing:
        return f"{len(missing)} of {len(array.chunks)} chunks are missing"
    damaged = find_damaged_strips(array.directory, fragment) if whole else []
    return f"{len(damaged)} of {len(fragment.strips)} strips differ from their digest" if damaged else ""


def _open_array(store: FeatureDirectory, part: str, fragment: Fragment, layout: _Layout) -> PartRows:
    """Returns the array of a part.

    Raises:
        DamagedPartError: If it is missing, cannot be opened, or is not what fragment and store ask for.
    """
    directory = store.path / "parts" / part
    if not directory.is_dir():
        raise DamagedPartError("the array is missing")
    try:
        array = PartRows.open(directory)
    except DamagedPartError as error:
        raise DamagedPartError(f"the array cannot be opened ({error})") from error
    if array.features != store.key:
        raise DamagedPartError(f"the array belongs to features {array.features}")
    frames = sum(strip.frames for strip in fragment.strips)
    found = array.channels, array.score_columns, array.encoding
    if (array.frames, *found) != (frames, *layout):
        raise DamagedPartError(f"the array holds {array.frames} rows of {found}, not {frames} of {layout}")
    return array


def _layout(features: FeatureConfig) -> _Layout:
    return features.channels, features.score_columns, features.encoding
