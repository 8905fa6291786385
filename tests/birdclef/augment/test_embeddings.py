"""Expected values are computed by hand from the drawn ones, or are frequencies over many draws."""

import torch

from birdclef.augment.embeddings import drop_channels, mix_embeddings, random_noise
from birdclef.augment.mixup import mixup


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_noise_has_the_deviation_of_each_channel_in_the_chosen_crops() -> None:
    crops, deviation = torch.zeros(2000, 1, 3, 8), torch.tensor([[0.0], [1.0], [4.0]])
    noise = random_noise(crops, deviation, 0.25, generator())
    changed = noise.abs().sum(dim=(1, 2, 3)) > 0
    assert abs(changed.float().mean() - 0.25) < 0.03
    torch.testing.assert_close(noise[changed].std(dim=(0, 1, 3)), deviation[:, 0], atol=0.08, rtol=0)


def test_dropped_channels_have_their_mean_in_all_windows_and_the_others_are_wider() -> None:
    """A channel at 1 whose mean is 3 is at 3 if it is dropped, and else at 3 + (1 - 3) / 0.8."""
    mean = torch.full((40, 1), 3.0)
    dropped = drop_channels(torch.ones(500, 1, 40, 3), 0.2, mean, generator())
    assert set(dropped.unique().tolist()) == {0.5, 3.0}
    assert torch.equal(dropped[..., 0], dropped[..., 2])
    assert abs(dropped.mean() - 1) < 0.05


def test_nothing_to_do_leaves_the_crops() -> None:
    crops = torch.randn(4, 1, 5, 3, generator=generator())
    assert torch.equal(random_noise(crops, torch.ones(5, 1), 0.0, generator()), crops)
    torch.testing.assert_close(drop_channels(crops, 0.0, torch.ones(5, 1), generator()), crops)


def test_mixup_mixes_embeddings_in_the_shares_of_their_targets() -> None:
    crops = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 2, 3)
    mixed, targets, partner = mixup(crops, torch.eye(6), 0.4, generator(), mix_embeddings)
    for row, other in enumerate(partner.tolist()):
        share = float(targets[row, row]) if other != row else 1.0
        torch.testing.assert_close(mixed[row], torch.full((1, 2, 3), share * row + (1 - share) * other))
