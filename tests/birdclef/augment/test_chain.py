"""Both kinds behind one interface; their numbers are held in test_augment.py and test_embedding_augment.py."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from birdclef.augment.chain import Augmentation, EmbeddingAugmentation, LogMelAugmentation, build_augmentation
from birdclef.config.augment import AugmentConfig, EmbeddingAugmentConfig
from birdclef.strips.residency import ResidentStrips
from cache.config.features import EmbeddingConfig, LogMelConfig

CPU = torch.device("cpu")


@pytest.fixture(params=["log_mel", "embedding"])
def augmentation(
    request: pytest.FixtureRequest, lay_out: Callable[..., ResidentStrips], tiny_model: Path
) -> Augmentation:
    generator = np.random.default_rng(0)
    strips = lay_out([generator.normal(-50, 9, (frames, 4)).astype(np.float16) for frames in (20, 9)])
    if request.param == "log_mel":
        built = build_augmentation(AugmentConfig(), LogMelConfig(), strips, 6, CPU)
        assert isinstance(built, LogMelAugmentation)
        return built
    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)})
    built = build_augmentation(EmbeddingAugmentConfig(), features, strips, 6, CPU)
    assert isinstance(built, EmbeddingAugmentation)
    return built


def test_same_generator_gives_the_same_views_and_another_one_others(augmentation: Augmentation) -> None:
    def make(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        positions = augmentation.draw_time_map(8, generator)
        assert positions.shape == (8, 6)
        others = augmentation.gather_others(8, generator)
        assert all(other.shape == (8, 1, 4, 6) for other in others)
        crops = torch.full((8, 1, 4, 6), -40.0)
        augmented = augmentation.augment(crops, *others, generator=generator)
        assert torch.equal(crops, torch.full((8, 1, 4, 6), -40.0))
        assert augmented.shape == crops.shape
        return augmented

    assert torch.equal(make(0), make(0))
    assert not torch.equal(make(0), make(1))


def test_windows_of_embeddings_are_not_stretched(lay_out: Callable[..., ResidentStrips]) -> None:
    augmentation = EmbeddingAugmentation(EmbeddingAugmentConfig(), 4, torch.ones(2, 1), CPU)
    assert augmentation.draw_time_map(2, torch.Generator()).tolist() == [[0, 1, 2, 3]] * 2
    assert augmentation.gather_others(2, torch.Generator()) == ()
