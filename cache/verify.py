"""Checks whether artefacts, strips in the store and hashes of audio are still right, and repairs what is damaged."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.background import background_directory, find_sounds, list_sounds
from cache.config.data import DataConfig
from cache.config.features import FeatureConfig, NoisyEmbeddingConfig, read_features
from cache.features import build_features, compute_strips, feature_recipe
from cache.recordings.hashes import find_changed, forget_hashes, hash_recordings
from cache.recordings.user_table import audio_directory, read_recordings
from cache.store.encoding import StripEncoding
from cache.store.fragment import DamagedPartError, Fragment
from cache.store.part_array import PartRows
from cache.store.part_writer import copy_strips, find_damaged_strips
from cache.store.strip_store import StripStore, fetch_index, fetch_part
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.provenance import find_damaged, read_provenance
from cache.workspace.publication import withdraw
from cache.workspace.workspace import Workspace

_Layout = tuple[int, int, StripEncoding]


@dataclass(frozen=True)
class Damage:
    """A damaged part of the store.

    Attributes:
        part: Id of the part.
        problem: What is wrong with the part.
        strips: sha256 of the audio of the part's strips; empty if the fragment cannot be read.
    """

    part: str
    problem: str
    strips: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        store: Feature directory.
        damages: Damaged parts.
        changed: Recordings, and files of the background, whose content changed although size and modification time did
            not.
        lost: sha256 of audio outside the data set whose strip was lost with a damaged part.
    """

    store: FeatureDirectory
    damages: tuple[Damage, ...]
    changed: tuple[str, ...]
    lost: tuple[str, ...] = ()

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages and not self.changed


def find_damage(store: FeatureDirectory, share: float, rng: np.random.Generator) -> Iterator[Damage]:
    """Yields the damaged parts of a feature directory.

    All parts are checked for a readable fragment and a complete array. In a random share of the parts, every strip is
    read and compared with its digest. If the directory mirrors a URL, these parts and all fragments are fetched again.

    Args:
        store: Feature directory.
        share: Share of the parts that are read whole, 0 to 1.
        rng: Source of the random choice.
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
    """Returns what is wrong with the features of a data set; with `repair`, damaged parts are computed again.

    A damaged part may hold undamaged strips of audio outside the data set, which cannot be computed again from it.
    These strips are copied to a new part.

    Args:
        data: Data set.
        features: Features whose store is checked.
        workspace: Workspace of the store.
        share: Share of the parts that are read whole, 0 to 1.
        seed: Seed of the choice of these parts.
        repair: Whether to remove the damaged parts and build the features again.

    Raises:
        FileNotFoundError: If the features were never built.
        AtWorkError: If a process builds in the workspace, so that damaged parts cannot be removed.
    """
    recipe = feature_recipe(features)
    store = workspace.feature_directory(recipe.key)
    read_provenance(store.path)
    folders = {audio_directory(data): read_recordings(data)}
    noise = background_directory(data) if data.background and not isinstance(features, NoisyEmbeddingConfig) else ""
    if noise:
        folders[noise] = list_sounds(find_sounds(noise))
    with workspace.alone_at_work() if repair else nullcontext():
        found = {folder: find_changed(files, folder, workspace) for folder, files in folders.items()}
        changed = tuple(name for names in found.values() for name in names)
        damages = tuple(find_damage(store, share, np.random.default_rng(seed)))
        if not repair:
            return Verdict(store, damages, changed)
        for folder in (folder for folder, names in found.items() if names):
            forget_hashes(folder, workspace)
        others = {sha256 for damage in damages for sha256 in damage.strips}
        for folder, files in folders.items():
            others.difference_update(hash_recordings(files, folder, workspace))
        kept = {_keep(store, damage.part, others, _layout(features)) for damage in damages}
        for damage in damages:
            if damage.part not in kept:  # the copy has the same id if a killed verify made the part; it is intact now
                _withdraw(store, damage.part)
    build_features(data, features, workspace)
    if noise:  # its strips only: the noisy copies have stores of their own, which may be damaged too
        with workspace.at_work():
            compute_strips(folders[noise], noise, features, workspace)
    return Verdict(store, damages, changed, tuple(sorted(others - StripStore(store).strips.keys())))


def verify_artefacts(workspace: Workspace, *, repair: bool) -> dict[Path, list[str]]:
    """Returns the damaged files of each artefact by their digests; with `repair`, removes artefacts that have any.

    The stage of a removed artefact makes it again, or fetches it again if the workspace mirrors a URL. Feature stores
    are checked by `verify`.

    Raises:
        AtWorkError: If a process builds in the workspace, so that nothing can be removed.
    """
    with workspace.alone_at_work() if repair else nullcontext():
        found = {path: find_damaged(path) for path in workspace.artefacts() if path.parent.name != "features"}
        damaged = {path: files for path, files in found.items() if files}
        for path in damaged if repair else ():
            withdraw(path, workspace.staging)
    return damaged


def _keep(store: FeatureDirectory, part: str, audio: Collection[str], layout: _Layout) -> str | None:
    """Copies the undamaged strips of some audio from a damaged part to a new part; returns its id.

    Args:
        store: Feature directory.
        part: Id of the damaged part.
        audio: sha256 of the audio whose strips are kept.
        layout: Channels, score columns and encoding of the features.

    Returns:
        Id of the new part; None if nothing can be kept.
    """
    try:
        fragment = Fragment.read(store.path / "index" / f"{part}.json")
        array = _open_array(store, part, fragment, layout)
    except DamagedPartError:
        return None
    damaged = find_damaged_strips(array.directory, fragment)
    intact = [strip for strip in fragment.strips if strip.sha256 in audio and strip not in damaged]
    return copy_strips(store, part, intact, fragment.failures) if intact else None


def _withdraw(store: FeatureDirectory, part: str) -> None:
    """Remove a part from the store, here and at the URL. The next build computes its strips again."""
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
    """Returns what is wrong with a part's array at the URL, empty if nothing; if `whole`, fetches it again."""
    if whole:
        return _fetch_anew(store, part)
    return "" if there else "the array is missing"


def _fetch_anew(store: FeatureDirectory, part: str) -> str:
    """Fetches the array of a part from the URL again; returns what is wrong with it, empty if nothing."""
    shutil.rmtree(store.path / "parts" / part, ignore_errors=True)
    try:
        fetch_part(store, part)
    except DamagedPartError as error:
        return str(error).removesuffix(" Run birdclef verify.")
    return ""


def _check_part(store: FeatureDirectory, part: str, fragment: Fragment, layout: _Layout, *, whole: bool) -> str:
    """Returns what is wrong with a part on this machine, empty if nothing."""
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
        DamagedPartError: If the array is missing, cannot be opened, or does not fit the fragment or the store.
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
