"""The checkpoints of an unfinished training, from which it continues after its process has died."""

import logging
import shutil
import zipfile
from pathlib import Path

logger = logging.getLogger(__name__)

LAST_CHECKPOINT = "last.ckpt"
BEST_CHECKPOINT = "best.ckpt"


def find_checkpoint(checkpoints: Path) -> Path | None:
    """Returns the last checkpoint in a folder; None if there is none.

    Checkpoints are not flushed to the disk, so a power failure may tear them. If one is torn, all are removed, because
    the last one refers to the best one.
    """
    last, best = checkpoints / LAST_CHECKPOINT, checkpoints / BEST_CHECKPOINT
    torn = [path.name for path in (last, best) if path.is_file() and not _is_whole(path)]
    if torn:
        logger.warning("train: %s cannot be read (%s), so training begins anew", checkpoints, ", ".join(torn))
        shutil.rmtree(checkpoints, ignore_errors=True)
    return last if last.is_file() else None


def _is_whole(checkpoint: Path) -> bool:
    """Whether a file that `torch.save` wrote has the content that its checksums state."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError):
        return False
