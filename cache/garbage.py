"""Finds and removes what a workspace no longer needs: remains of killed builds, unused artefacts, unused parts."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache.recordings.catalogue_tables import read_catalogue, read_quarantine
from cache.store.fragment import Fragment, Strip
from cache.store.part_writer import copy_strips
from cache.workspace.builders import AtWorkError
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.provenance import read_provenance
from cache.workspace.publication import withdraw
from cache.workspace.workspace import Workspace

MOSTLY_DEAD = 0.5
"""A part is written again if more than this share of its frames belongs to audio that no catalogue names."""

_ROOTS = ("reports", "held_out", "runs", "sweeps", "comparisons")
_LISTS = ("catalogues", "backgrounds")
"""Kinds of artefacts that list the audio whose strips they need."""
_OLD = "an old report, or only old reports need it"


@dataclass(frozen=True)
class Garbage:
    """A folder that can be removed.

    Attributes:
        path: Path of the folder.
        why: Reason why the folder is not needed.
        size_bytes: Size of all files in the folder.
        kept: Strips in the folder that are still needed; they are copied to another part first.
    """

    path: Path
    why: str
    size_bytes: int
    kept: tuple[Strip, ...] = ()


def find_garbage(workspace: Workspace, dropped: Collection[str] = ()) -> list[Garbage]:
    """Returns the folders that can be removed.

    These are kept: all reports with their held-out scores, all runs, sweeps and comparisons, the newest catalogue and
    the newest background of each feature store, and all that these were made from. Noisy copies are kept only with
    their background. A split is not kept only because a later split took over its folds.

    Args:
        workspace: Workspace to search.
        dropped: Keys of reports that can be removed too, with their held-out scores and the runs that only they need.

    Raises:
        AtWorkError: If the workspace mirrors a URL, because no lock keeps builders on other machines out.
    """
    if workspace.mirror:
        raise AtWorkError(
            f"{workspace.address()} has no lock that would keep builders on other machines out during a removal. Run "
            "birdclef gc on a workspace in a folder, or remove by hand what `birdclef status` lists, reports and runs "
            "first."
        )
    artefacts = {path.name: path for path in workspace.artefacts()}
    unneeded = _reach(
        artefacts, [*(artefacts[key] for key in dropped if key in artefacts), *_scores_of(dropped, artefacts)]
    )
    roots = [path for path in artefacts.values() if path.parent.name in _ROOTS and path.name not in unneeded]
    kept = _reach(artefacts, [*roots, *_newest_lists(artefacts)])
    garbage = [
        Garbage(path, _OLD if key in unneeded else "no report or run refers to it", folder_bytes(path))
        for key, path in artefacts.items()
        if key not in kept
    ]
    staging = workspace.staging
    unfinished = sorted(path for path in staging.iterdir() if path.is_dir()) if staging.is_dir() else []
    garbage += [
        Garbage(path, "left by work that did not end", folder_bytes(path))
        for path in unfinished
        if not path.name.startswith("runs-")  # the next run continues a killed training from its checkpoint
    ]
    for store, audio in sorted(_find_live(kept).items()):
        garbage += _find_in_store(kept[store], audio)
    return garbage


def collect_garbage(
    workspace: Workspace, confirmed: Iterable[Garbage] | None = None, dropped: Collection[str] = ()
) -> list[Garbage]:
    """Removes the folders that can be removed; returns them.

    Args:
        workspace: Workspace to clean.
        confirmed: Folders that the user confirmed; no other folder is removed. None: all are removed.
        dropped: As in `find_garbage`.

    Raises:
        AtWorkError: If a process builds in the workspace, or the workspace mirrors a URL.
    """
    paths = None if confirmed is None else {item.path for item in confirmed}
    with workspace.alone_at_work():
        garbage = [item for item in find_garbage(workspace, dropped) if paths is None or item.path in paths]
        # Copies come last. A copy is named by its strips. An array of this name without a fragment, which a killed
        # removal left, would be taken for the copy and then removed.
        for item in sorted(garbage, key=lambda item: bool(item.kept)):
            if item.path.parent.name == "parts":
                store = FeatureDirectory(item.path.parent.parent)
                index = store.path / "index" / f"{item.path.name}.json"
                if item.kept:
                    copy_strips(store, item.path.name, item.kept, Fragment.read(index).failures)
                index.unlink(missing_ok=True)
            withdraw(item.path, workspace.staging)
    return garbage


def folder_bytes(folder: Path) -> int:
    """Returns the size of all files below a folder, in bytes."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a builder may move files at the same time
            size += path.stat().st_size if path.is_file() else 0
    return size


def _scores_of(reports: Collection[str], artefacts: dict[str, Path]) -> list[Path]:
    """Returns the held-out scores of reports."""
    scores = [path for path in artefacts.values() if path.parent.name == "held_out"]
    return [path for path in scores if read_provenance(path)["inputs"]["report"] in reports]


def _newest_lists(artefacts: dict[str, Path]) -> list[Path]:
    """Returns the newest catalogue and the newest background of each feature store, except of noisy copies."""
    newest: dict[tuple[str, str], tuple[int, str, Path]] = {}
    for path in artefacts.values():
        if path.parent.name in _LISTS:
            provenance = read_provenance(path)
            store, age = provenance["inputs"]["features"], (provenance.get("number", 0), provenance["created"])
            if store in artefacts and "noise" in read_provenance(artefacts[store])["config"]:
                continue
            place = path.parent.name, store
            newest[place] = max(newest.get(place, (0, "", path)), (*age, path))
    return [path for _, _, path in newest.values()]


def _reach(artefacts: dict[str, Path], roots: Iterable[Path]) -> dict[str, Path]:
    """Returns the roots and everything that they were made from, by key.

    Args:
        artefacts: All artefacts, by key.
        roots: Artefacts to begin with.
    """
    reached: dict[str, Path] = {}
    pending = list(roots)
    while pending:
        path = pending.pop()
        if path.name not in reached:
            reached[path.name] = path
            inputs = read_provenance(path)["inputs"]
            pending += [artefacts[key] for name, key in inputs.items() if name != "previous" and key in artefacts]
    return reached


def _find_live(kept: dict[str, Path]) -> dict[str, set[str]]:
    """Returns the sha256 of the audio that is needed in each feature store, by the store's key.

    Needed is the audio in the store's own catalogues and backgrounds. If an artefact was made from this store and from
    the split of another store, the audio in the split's catalogue is needed too.
    """
    pairs: set[tuple[str, str]] = set()
    for key, path in kept.items():
        inputs = read_provenance(path)["inputs"]
        catalogue = key if path.parent.name in _LISTS else ""
        if split := kept.get(inputs.get("split", "")):
            catalogue = read_provenance(split)["inputs"]["catalogue"]
        pairs.add((inputs.get("features", ""), catalogue))
    live: dict[str, set[str]] = {}
    for store, catalogue in pairs:
        if store in kept and catalogue in kept:
            named = {*read_catalogue(kept[catalogue])["sha256"], *read_quarantine(kept[catalogue])["sha256"]}
            live.setdefault(store, set()).update(named)
    return live


def _find_in_store(store: Path, live: set[str]) -> Iterator[Garbage]:
    for part in sorted((store / "parts").glob("*")):  # a copy of the store may have no parts
        index = store / "index" / f"{part.name}.json"
        if not index.is_file():
            yield Garbage(part, "left by a build that did not end", folder_bytes(part))
            continue
        strips = Fragment.read(index).strips
        needed = tuple(strip for strip in strips if strip.sha256 in live)
        dead = 1 - sum(strip.frames for strip in needed) / max(sum(strip.frames for strip in strips), 1)
        if strips and not needed:
            yield Garbage(part, "no catalogue names its audio", folder_bytes(part))
        elif strips and dead > MOSTLY_DEAD:
            yield Garbage(part, f"no catalogue names {dead:.0%} of its audio", folder_bytes(part), needed)
