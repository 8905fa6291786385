"""The memory plan against sizes by hand, and against what a forward pass really keeps."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from birdclef.config.train import TrainConfig
from birdclef.model.network import build_model
from birdclef.strips.fold import FoldData
from birdclef.training.data import TrainingData
from birdclef.training.memory_plan import MemoryPlan, check_memory, measure_activations, plan_memory

CPU = torch.device("cpu")


def test_activations_of_a_small_network_are_counted_by_hand() -> None:
    """A linear layer keeps its input, which does not count; a ReLU its output; the next linear layer that same one."""
    network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2), nn.Sigmoid())
    kept = measure_activations(network, network, torch.ones(7, 3))
    assert kept == 4 * 7 * (5 + 2)  # the ReLU's output and the sigmoid's


def test_activations_under_autocast_are_counted_by_hand() -> None:
    """In bfloat16 as above; besides the copies of the input, and of the second layer's weights, are kept."""
    network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2), nn.Sigmoid())
    with torch.autocast("cpu", torch.bfloat16):
        kept = measure_activations(network, network, torch.ones(7, 3))
    assert kept == 2 * (7 * (5 + 2) + 7 * 3 + 5 * 2)


def test_plan_in_half_precision_counts_about_half_for_each_view(fold_data: FoldData) -> None:
    plans = {}
    for micro_batch in (10, 20):
        config = TrainConfig.model_validate({"model": {"backbone": "test_resnet"}, "micro_batch": micro_batch})
        model, training = build_model(config.model, 3), TrainingData(fold_data, config, CPU)
        for dtype in (torch.float32, torch.bfloat16):
            plans[micro_batch, dtype] = plan_memory(model, training, config, dtype)
    whole, half = (
        plans[20, dtype].activations - plans[10, dtype].activations for dtype in (torch.float32, torch.bfloat16)
    )
    assert 0.5 < half / whole < 0.6  # what is not a convolution or a product stays in float32
    assert "(20 views at a time, bfloat16)" in str(plans[20, torch.bfloat16])


@pytest.mark.parametrize(("micro_batch", "at_a_time"), [(None, 8), (3, 3), (100, 8)])
def test_plan_is_made_of_sizes(fold_data: FoldData, micro_batch: int | None, at_a_time: int) -> None:
    config = TrainConfig.model_validate(
        {
            "model": {"backbone": "test_resnet"},
            "clip_seconds": 1.0,
            "species_per_batch": 2,
            "recordings_per_species": 2,
            "micro_batch": micro_batch,
        }
    )
    model = build_model(config.model, 3)
    before = copy.deepcopy(model.state_dict())
    training = TrainingData(fold_data, config, CPU)
    plan = plan_memory(model, training, config, torch.float32)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert plan.strips == (70 + 32 + 9 + 40 + 31 + 100) * 8 * 2
    assert plan.state == 5 * 4 * parameters
    assert plan.views == 2 * 4 * 8 * 8 * 16
    assert plan.views_at_a_time == at_a_time
    whole = measure_activations(model, lambda crops: model.heads(model.encode(crops)), torch.zeros(at_a_time, 1, 8, 16))
    assert plan.activations == pytest.approx(whole, rel=0.02)
    assert f"({at_a_time} views at a time, float32)" in str(plan)


def test_nothing_of_the_probe_stays_in_memory() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    weight = weakref.ref(network[0].weight)
    measure_activations(network, network, torch.zeros(5, 3))
    del network
    gc.collect()
    assert weight() is None


def test_streamed_strips_take_no_memory(fold_data: FoldData) -> None:
    config = TrainConfig.model_validate({"model": {"backbone": "test_resnet"}, "residency": "stream"})
    training = TrainingData(fold_data, config, CPU)
    assert plan_memory(build_model(config.model, 3), training, config, torch.float32).strips == 0


def make_plan(activations: int) -> MemoryPlan:
    return MemoryPlan(
        strips=5_000,
        state=2_000_000,
        views=1_000_000,
        activations=activations,
        views_at_a_time=512,
        dtype=torch.float32,
    )


def test_batch_that_does_not_fit_is_refused_with_a_micro_batch_that_fits() -> None:
    plan = make_plan(512 * 300_000)  # 153.6 MB for 512 views
    check_memory(plan, 2_000_000 + 1_000_000 + 512 * 300_000)
    with pytest.raises(
        ValueError, match=r"needs 157 MB of memory, and 23 MB are free.* Set train\.\*\.micro_batch=64\.$"
    ):
        check_memory(plan, 23_000_000)  # room for 20 MB of activations: 66 views
    assert plan.views_that_fit(2_000_000 + 1_000_000 + 64 * 300_000) == 64
    assert plan.views_that_fit(2_000_000 + 1_000_000 + 64 * 300_000 - 1) == 32
    with pytest.raises(ValueError, match=r"Lower species_per_batch or recordings_per_species"):
        check_memory(plan, 2_500_000)
