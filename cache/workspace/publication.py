"""Publication: an artefact is built in a staging directory that nobody reads, and one rename makes it visible.

If the workspace mirrors a URL, the artefact is complete there before it is visible here.
"""

import json
import logging
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from cache.workspace.atomic_files import move_atomically
from cache.workspace.keys import file_key
from cache.workspace.mirror import Mirror
from cache.workspace.provenance import PROVENANCE, is_finished

logger = logging.getLogger(__name__)


def prepare_staging(staging: Path, mirror: Mirror | None, *, resumable: bool) -> None:
    """Make the staging directory of a build; it is empty, unless the build is resumable.

    A resumable build keeps the files in staging. If there is no staging directory here, all of its files are fetched
    from the URL, or none if the transfer fails.
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
        digests: dict[str, str] = json.loads(provenance)["files"]
        mirror.fetch(final, incoming, list(digests))
        damaged = sorted(name for name, digest in digests.items() if file_key(incoming / name) != digest)
        if damaged:
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


def _clear_remains(final: Path) -> None:
    """Remove the files that an interrupted removal or copy left in the directory of an artefact."""
    if not is_finished(final):
        shutil.rmtree(final, ignore_errors=True)
