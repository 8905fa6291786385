import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from birdclef.training.checkpoints import find_checkpoint


def save(checkpoints: Path, *names: str) -> None:
    checkpoints.mkdir()
    for name in names:
        torch.save({"weight": torch.arange(1000.0)}, checkpoints / name)


def test_last_checkpoint_is_found(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    assert find_checkpoint(checkpoints) is None
    save(checkpoints, "best.ckpt", "last.ckpt")
    assert find_checkpoint(checkpoints) == checkpoints / "last.ckpt"
    (checkpoints / "last.ckpt").unlink()
    assert find_checkpoint(checkpoints) is None
    assert (checkpoints / "best.ckpt").is_file()


@pytest.mark.parametrize("torn", ["best.ckpt", "last.ckpt"])
@pytest.mark.parametrize(
    "tear",
    [
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: content[: len(content) // 2],
        lambda content: content[:1000] + bytes(1000) + content[2000:],  # only the checksums tell
    ],
    ids=["empty", "zeros", "first half", "a hole"],
)
def test_torn_checkpoint_gives_way_to_a_training_that_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, torn: str, tear: Callable[[bytes], bytes]
) -> None:
    checkpoints = tmp_path / "checkpoints"
    save(checkpoints, "best.ckpt", "last.ckpt")
    (checkpoints / torn).write_bytes(tear((checkpoints / torn).read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint(checkpoints) is None
    assert not checkpoints.exists()
    assert f"{checkpoints} cannot be read ({torn})" in caplog.text
