"""One GPU, one training or prediction: a lock on each device, which is gone with the process that holds it."""

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)


def gpus_in_use(accelerator: str, devices: int) -> list[str]:
    """Returns the UUIDs of the GPUs that work on so many devices uses: the first of those that it sees."""
    if accelerator not in ("auto", "gpu") or not torch.cuda.is_available():
        return []
    count = min(devices, torch.cuda.device_count())
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]


@contextmanager
def alone_on(gpus: Sequence[str]) -> Iterator[None]:
    """Wait until no other work of this user uses any of the GPUs, and keep others waiting; not again inside itself.

    The locks lie in the system's folder for temporary files ($TMPDIR): containers that see the same GPU must share it.
    """
    folder = Path(tempfile.gettempdir()) / f"birdclef-{os.getuid()}"
    with ExitStack() as stack:
        for gpu in sorted(gpus):  # in one order, so that two never wait for each other
            folder.mkdir(mode=0o700, exist_ok=True)
            lock = FileLock(folder / f"{gpu}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.warning("gpu: waits for the training or prediction that uses GPU %s", gpu)
                lock.acquire()
            stack.callback(lock.release)
        yield
