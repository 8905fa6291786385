"""Pools against plain NumPy over each crop's windows."""

import numpy as np
import pytest
import torch

from birdclef.config.model import POOLS, ModelConfig
from birdclef.model.network import build_model
from birdclef.model.pooling import WindowPool

CROPS = torch.randn(3, 1, 5, 4, generator=torch.Generator().manual_seed(0))  # 4 windows of 5 channels


@pytest.mark.parametrize("pool", POOLS)
def test_windows_count_alike_before_anything_is_learnt(pool: str) -> None:
    model = WindowPool(5, 7, 0.0, pool).eval()
    _, linear, _ = model.hidden
    mean = CROPS[:, 0].mean(dim=2).numpy()
    expected = np.maximum(mean @ linear.weight.detach().numpy().T + linear.bias.detach().numpy(), 0)
    np.testing.assert_allclose(model(CROPS).detach().numpy(), expected, atol=1e-6)


def test_attention_weighs_windows_by_the_softmax_of_their_scores() -> None:
    model = WindowPool(5, 7, 0.0, "attention_pool").eval()
    assert model.score is not None
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(1))
    windows = CROPS[:, 0].numpy()  # (crops, channels, windows)
    odds = np.exp(np.einsum("bcw,c->bw", windows, model.score.weight[0].detach().numpy()))
    pooled = np.einsum("bcw,bw->bc", windows, odds / odds.sum(axis=1, keepdims=True))
    expected = model.hidden(torch.from_numpy(pooled.astype(np.float32)))
    torch.testing.assert_close(model(CROPS), expected, atol=1e-5, rtol=1e-5)


def test_model_on_a_pool_standardises_each_channel() -> None:
    settings = ModelConfig(backbone="mean_pool", normalisation="channel", pool_hidden=7, projection_hidden=6)
    model = build_model(settings, 2, channels=5).eval()
    mean, deviation = torch.arange(5.0).unsqueeze(1), torch.arange(1.0, 6.0).unsqueeze(1)
    model.set_input_statistics(mean, deviation)
    by_hand = torch.stack([(CROPS[:, :, channel] - channel) / (channel + 1) for channel in range(5)], dim=2)
    torch.testing.assert_close(model.encode(CROPS), model.backbone(by_hand))
    assert model(CROPS).shape == (3, 2)


def test_pool_needs_the_width_of_the_embeddings() -> None:
    with pytest.raises(ValueError, match="needs to know the width of the embeddings"):
        build_model(ModelConfig(backbone="mean_pool", normalisation="channel"), 2)
