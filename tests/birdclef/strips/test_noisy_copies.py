"""Crops of noisy copies, read from real stores."""

from pathlib import Path

import numpy as np
import pytest
import torch

from birdclef.strips.crops import gather_crops
from birdclef.strips.noisy_copies import NoisyCopies
from birdclef.strips.residency import Residency, load_strips
from cache.store.part_writer import PartWriter
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory

CPU = torch.device("cpu")
LENGTHS = {"a": 9, "b": 4, "c": 6}


def write_store(directory: Path, number: int, names: str) -> FeatureDirectory:
    """Returns a store whose values tell copy, recording and frame: 100 * copy + 10 * recording + frame."""
    with PartWriter(FeatureDirectory(directory), 3) as writer:
        for name in names:
            frames = np.arange(LENGTHS[name])[:, None] + 10 * list(LENGTHS).index(name) + 100 * number
            writer.add_strip(f"sha-{name}", np.repeat(frames, 3, axis=1).astype(np.float32))
        writer.publish()
    return FeatureDirectory(directory)


@pytest.mark.parametrize("residency", ["host", "stream"])
def test_share_of_the_crops_is_the_same_piece_of_a_random_copy(tmp_path: Path, residency: Residency) -> None:
    stores = [write_store(tmp_path / str(number), number, names) for number, names in enumerate(("abc", "abc", "ca"))]
    sha256s = ["sha-c", "sha-a", "sha-b"]
    strips = load_strips(StripStore(stores[0]), sha256s, CPU, "host")
    copies = NoisyCopies.load(stores[1:], sha256s, 0.4, CPU, residency)
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(3).repeat(1000)
    positions = torch.rand(3000, 1, generator=generator) * 4 + torch.arange(5)
    clean = gather_crops(strips, rows, positions)
    before = clean.clone()
    mixed = copies.replace_crops(clean, rows, positions, generator)
    assert torch.equal(clean, before)
    copy = ((mixed - clean) / 100).round()
    assert torch.equal(copy, copy[:, :, :1, :1].expand_as(copy))  # whole crops, of one copy each
    torch.testing.assert_close(mixed, clean + 100 * copy, rtol=0, atol=1e-2)
    shares = {
        name: [float((copy[row::3, 0, 0, 0] == number).float().mean()) for number in range(3)]
        for row, name in enumerate("cab")
    }
    assert shares["a"] == pytest.approx([0.6, 0.2, 0.2], abs=0.05)
    assert shares["c"] == pytest.approx([0.6, 0.2, 0.2], abs=0.05)
    assert shares["b"] == pytest.approx([0.8, 0.2, 0.0], abs=0.05)  # the second copy lacks it


def test_without_copies_nothing_is_drawn() -> None:
    crops, generator = torch.zeros(2, 1, 3, 5), torch.Generator().manual_seed(0)
    state = generator.get_state()
    copies = NoisyCopies.load((), ["sha-a", "sha-b"], 0.5, CPU, "auto")
    assert copies.replace_crops(crops, torch.arange(2), torch.zeros(2, 5), generator) is crops
    assert torch.equal(generator.get_state(), state)
