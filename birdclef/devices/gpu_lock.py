"""Locks each GPU for one training or prediction at a time; a lock ends with the process that holds it."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from cache.workspace.process_lock import hold_lock


def gpus_in_use(accelerator: str, devices: int) -> list[str]:
    """Returns the UUIDs of the GPUs that a training or prediction uses: the first `devices` of the visible GPUs.

    Args:
        accelerator: Value of the setting `accelerator`; `cpu` and `mps` need no lock.
        devices: Number of devices.
    """
    if accelerator not in ("auto", "gpu") or not torch.cuda.is_available():
        return []
    count = min(devices, torch.cuda.device_count())
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]


@contextmanager
def alone_on(gpus: Sequence[str]) -> Iterator[None]:
    """Wait until no other work of this user uses the GPUs, and make other work wait until the block ends.

    A block must not contain another block for the same GPU. The lock files are in the system's folder for temporary
    files ($TMPDIR). Containers that see the same GPU must share this folder.
    """
    folder = Path(tempfile.gettempdir()) / f"birdclef-{os.getuid()}"
    with ExitStack() as stack:
        for gpu in sorted(gpus):  # a fixed order, so that two processes never wait for each other
            folder.mkdir(mode=0o700, exist_ok=True)
            stack.enter_context(hold_lock(folder / f"{gpu}.lock", f"GPU {gpu}"))
        yield
