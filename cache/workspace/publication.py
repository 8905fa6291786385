"""Publication: an artefact is built in a staging directory that nobody reads, and one rename makes it visible.

If the workspace mirrors a URL, the artefact is complete there before it is visible here.
"""

import logging
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from cache.workspace.atomic_files import move_atomically
from cache.workspace.mirror import Mirror
from cache.workspace.provenance import PROVENANCE, PROVENANCE_FORMAT, find_damaged, is_finished

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
"""Folder in the staging directory of a resumable build: a killed build continues from it, and nobody else reads it."""


def prepare_staging(staging: Path, mirror: Mirror | None, *, resumable: bool) -> None:
    """Make the staging directory of a build; it is empty, unless the build is resumable.

    A resumable build keeps the files in staging, and gets back its checkpoints if it was killed just before it was
    published. If there is no staging directory here, all of its files are fetched from the URL, or none if the transfer
    fails.
    """
    if not resumable:
        shutil.rmtree(staging, ignore_errors=True)
    elif mirror and not staging.exists():
        incoming = staging.with_name(f"incoming-{staging.name}")
        shutil.rmtree(incoming, ignore_errors=True)
        mirror.fetch(staging, incoming, list(mirror.sizes(staging)))
        incoming.mkdir(exist_ok=True)
        incoming.rename(staging)
    staging.mkdir(exist_ok=True)
    if (aside := _aside(staging)).exists():
        if resumable and not (staging / CHECKPOINTS).exists():
            aside.rename(staging / CHECKPOINTS)
        shutil.rmtree(aside, ignore_errors=True)


def set_checkpoints_aside(staging: Path) -> Path:
    """Moves the checkpoints of a build, if there are any, out of staging: no artefact has them; returns their place.

    They are several times as large as a run's weights. They may be removed once the artefact is published.
    """
    aside = _aside(staging)
    if (staging / CHECKPOINTS).exists():
        (staging / CHECKPOINTS).rename(aside)
    return aside


def _aside(staging: Path) -> Path:
    return staging.with_name(f"{CHECKPOINTS}-{staging.name}")


def publish_artefact(staging: Path, final: Path, mirror: Mirror | None) -> None:
    """Move a complete artefact, with its provenance, from staging to its place, first at the URL and then here."""
    if mirror:
        mirror.send(staging, final, last=PROVENANCE)
        mirror.remove(staging)
    _clear_remains(final)
    move_atomically(staging, final)


def fetch_artefact(final: Path, staging: Path, mirror: Mirror) -> bool:
    """Fetches an artefact from the URL; returns whether the artefact is finished on this machine now.

    If a file differs from its digest in the provenance, the artefact counts as missing and is not fetched.

    Args:
        final: Place of the artefact.
        staging: Folder of unfinished artefacts.
        mirror: Mirror of the URL.
    """
    provenance = mirror.read(final / PROVENANCE)
    if provenance is None:
        return False
    incoming = staging / f"{final.parent.name}-{final.name}.{uuid.uuid4().hex}"
    try:
        incoming.mkdir(parents=True)
        digests: dict[str, str] = PROVENANCE_FORMAT.parse(provenance, final / PROVENANCE)["files"]
        mirror.fetch(final, incoming, list(digests))
        if damaged := find_damaged(incoming, digests):
            logger.warning("%s is damaged (%s): it is built again", mirror.address(final), ", ".join(damaged))
            return False
        (incoming / PROVENANCE).write_bytes(provenance)
        _clear_remains(final)
        with suppress(OSError):  # another process fetched it meanwhile
            move_atomically(incoming, final)
    except FileNotFoundError as error:
        logger.warning("%s is damaged (%s): it is built again", mirror.address(final), error)
        return False
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return is_finished(final)


def withdraw_if_damaged(final: Path, staging: Path) -> bool:
    """Removes an artefact if a file of it differs from its digest; returns whether a sound one is there.

    Only the holder of the artefact's lock may call it: another process may publish the artefact meanwhile.

    Args:
        final: Place of the artefact.
        staging: Folder of unfinished artefacts.
    """
    if not is_finished(final):
        return False
    damaged = find_damaged(final)
    if not damaged:
        return True
    logger.warning("%s is damaged (%s): it is removed, to be made again", final, ", ".join(damaged))
    withdraw(final, staging)
    return False


def withdraw(final: Path, staging: Path) -> None:
    """Remove an artefact, which is at no moment there in part.

    Args:
        final: Place of the artefact.
        staging: Folder of unfinished artefacts.
    """
    gone = staging / f"gone-{uuid.uuid4().hex}"
    gone.parent.mkdir(parents=True, exist_ok=True)
    final.rename(gone)
    shutil.rmtree(gone)


def _clear_remains(final: Path) -> None:
    """Remove the files that an interrupted removal or copy left in the directory of an artefact."""
    if not is_finished(final):
        shutil.rmtree(final, ignore_errors=True)
