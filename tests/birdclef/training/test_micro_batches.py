"""Gradient caching against the gradient of the whole batch, and against chunks that are kept in memory."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from birdclef.config.model import ModelConfig
from birdclef.config.objective import ObjectiveConfig
from birdclef.model.network import Heads, SpeciesModel, batch_norms, build_model
from birdclef.training.data import Views
from birdclef.training.memory_plan import measure_activations
from birdclef.training.micro_batches import heads_in_chunks
from birdclef.training.objective import build_objective

CLASSES = 5
BATCH = 14


def make_model(backbone: str = "test_resnet", classes: int = CLASSES, **settings: Any) -> SpeciesModel:
    torch.manual_seed(0)
    return build_model(
        ModelConfig.model_validate({"backbone": backbone, "projection_hidden": 32, "projection_dim": 16, **settings}),
        classes,
    )


def make_views() -> Views:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(BATCH) % CLASSES
    log_mel = -40 + 5 * torch.randn(BATCH, 1, 32, 48, generator=generator)
    log_mel += 20 * torch.randn(BATCH, 1, 1, 48, generator=generator)  # so that embeddings lie apart
    return Views(log_mel, labels, torch.nn.functional.one_hot(labels, CLASSES).float(), torch.arange(BATCH) // 2)


def gradients(model: SpeciesModel, heads: Heads, views: Views, kind: str) -> dict[str, Tensor]:
    model.zero_grad()
    config = ObjectiveConfig.model_validate({"kind": kind})
    classes = views.targets.shape[1]
    objective = build_objective(config, torch.full((classes,), 1 / classes), 16, torch.Generator())
    objective(heads, views, classifying=False)["loss"].backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def in_memory(model: SpeciesModel, log_mel: Tensor, chunk: int) -> Heads:
    heads = [model.heads(model.encode(part)) for part in log_mel.split(chunk)]
    return Heads(torch.cat([part.embeddings for part in heads]), torch.cat([part.logits for part in heads]))


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Norm of the difference of two gradients, as a share of the second's norm."""
    assert found.keys() == expected.keys()
    one, other = (torch.cat([value.flatten() for value in gradient.values()]) for gradient in (found, expected))
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("kind", ["ce", "supcon", "joint"])
@pytest.mark.parametrize("micro_batch", [1, 4, 7, 13])
@pytest.mark.parametrize(("precision", "largest"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_gradient_is_that_of_the_whole_batch(
    kind: str, micro_batch: int, precision: torch.dtype, largest: float
) -> None:
    model, views = make_model().eval().to(precision), make_views()  # batch norm in eval mode does not mix the batch
    log_mel = views.crops.to(precision)
    whole = gradients(model, model.heads(model.encode(log_mel)), views, kind)
    assert distance(gradients(model, heads_in_chunks(model, log_mel, micro_batch), views, kind), whole) < largest


def test_random_numbers_and_running_statistics_are_those_of_one_forward_pass() -> None:
    model, views = make_model(dropout=0.5, drop_path=0.3).train(), make_views()
    twin = copy.deepcopy(model)
    torch.manual_seed(3)
    expected = gradients(twin, in_memory(twin, views.crops, 4), views, "joint")
    torch.manual_seed(3)
    found = gradients(model, heads_in_chunks(model, views.crops, 4), views, "joint")
    assert distance(found, expected) < 1e-6
    buffers = dict(twin.named_buffers())
    assert any("running_mean" in name for name in buffers)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
    assert all(module.momentum != 0 for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_gradient_is_exact_if_batch_norm_keeps_its_statistics() -> None:
    model, views = make_model().train().double(), make_views()
    for norm in batch_norms(model):
        norm.eval()
    crops = views.crops.double()
    whole = gradients(model, model.heads(model.encode(crops)), views, "joint")
    assert distance(gradients(model, heads_in_chunks(model, crops, 4), views, "joint"), whole) < 1e-12


def test_random_order_brings_the_gradient_closer_to_that_of_the_whole_batch() -> None:
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(8).repeat_interleave(8)  # the views of a species lie side by side
    songs = 20 * torch.randn(8, 1, 32, 1, generator=generator)
    crops = (-40 + songs[labels] + 5 * torch.randn(64, 1, 32, 48, generator=generator)).double()
    order = torch.randperm(64, generator=generator)
    angles = []
    for rows in (torch.arange(64), order):
        model = make_model(classes=8, normalisation="dataset").train().double()
        targets = torch.nn.functional.one_hot(labels, 8).double()
        views = Views(crops[rows], labels[rows], targets[rows], torch.arange(64)[rows])
        whole, chunked = (
            torch.cat([value.flatten() for value in gradients(model, heads, views, "ce").values()])
            for heads in (model.heads(model.encode(views.crops)), heads_in_chunks(model, views.crops, 16))
        )
        angles.append(float(torch.nn.functional.cosine_similarity(whole, chunked, dim=0)))
    side_by_side, shuffled = angles
    assert side_by_side < shuffled < 1


def kept_bytes(model: SpeciesModel, log_mel: Tensor, micro_batch: int | None) -> int:
    return measure_activations(model, lambda crops: heads_in_chunks(model, crops, micro_batch), log_mel)


def test_forward_pass_keeps_no_activations() -> None:
    model, log_mel = make_model().train(), make_views().crops
    assert kept_bytes(model, log_mel, 2) < kept_bytes(model, log_mel, None) / 100


def test_batch_that_fits_is_computed_at_once() -> None:
    model, log_mel = make_model().train(), make_views().crops
    assert kept_bytes(model, log_mel, BATCH) == kept_bytes(model, log_mel, None)
