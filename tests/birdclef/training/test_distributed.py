"""Two real processes against one: gradients of every objective, a whole training, a resumed one, and their ends."""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from birdclef.config.model import ModelConfig
from birdclef.config.objective import ContrastKind
from birdclef.config.train import TrainConfig
from birdclef.devices.ranks import run_in_ranks
from birdclef.model.network import build_model
from birdclef.strips.fold import FoldData
from birdclef.training.distributed import synchronise_batch_norm
from birdclef.training.fit import fit
from cache.workspace.workspace import Workspace

FUNCTIONS = '''
import os
import signal
import time

import torch
import torch.distributed as dist

from birdclef.config.model import ModelConfig
from birdclef.config.objective import ObjectiveConfig
from birdclef.training.data import Views
from birdclef.training.distributed import average_gradients, gather_heads, own_part
from birdclef.training.micro_batches import heads_in_chunks
from birdclef.model.network import build_model
from birdclef.training.objective import build_objective

MODEL = ModelConfig(backbone="test_resnet", projection_hidden=16, projection_dim=8)


def gradients(cases):
    """Returns the gradients of each objective, by parameter; in float64, so that only mistakes remain."""
    if "WORLD_SIZE" in os.environ:
        world = int(os.environ["WORLD_SIZE"])
        dist.init_process_group("gloo", rank=int(os.environ["LOCAL_RANK"]), world_size=world)
    generator = torch.Generator().manual_seed(3)
    labels = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3])
    targets = torch.nn.functional.one_hot(labels, 4).float()
    mixed = 0.7 * targets + 0.3 * targets.flip(0)
    secondary = torch.zeros(12, 4, dtype=torch.bool)
    secondary[2:4, 0] = True
    log_mel = -50 + 10 * torch.randn(12, 1, 32, 32, generator=generator)
    recordings = torch.arange(6).repeat_interleave(2)
    found = {}
    for name, objective_config, micro_batch, dtype in cases:
        torch.manual_seed(0)
        model = build_model(MODEL, 4).eval().to(dtype)
        shares = torch.tensor([0.4, 0.3, 0.2, 0.1])
        objective = build_objective(
            ObjectiveConfig.model_validate(objective_config), shares, 8, torch.Generator().manual_seed(1)
        ).to(dtype)
        given = (mixed if objective_config.get("contrast") == "soft" else targets).to(dtype)
        views = Views(log_mel.to(dtype), labels, given, recordings, secondary)
        heads = gather_heads(heads_in_chunks(model, own_part(views.crops), micro_batch))
        both = torch.nn.ModuleList([model, objective])
        objective(heads, views, classifying=False)["loss"].backward()
        average_gradients(both)
        found[name] = {
            key: value.grad.numpy() for key, value in both.named_parameters() if value.grad is not None
        }
    return found


def fail_in_the_second_epoch(*arguments):
    from birdclef.training.fit import fit
    from birdclef.training.lightning_module import SpeciesLightningModule

    begin = SpeciesLightningModule.on_train_epoch_start

    def fail(self):
        if self.current_epoch == 1:
            raise ValueError(f"epoch 1 does not suit rank {self.global_rank}")
        begin(self)

    SpeciesLightningModule.on_train_epoch_start = fail
    return fit(*arguments)


def die(rank):
    own = int(os.environ["LOCAL_RANK"])
    dist.init_process_group("gloo", rank=own, world_size=int(os.environ["WORLD_SIZE"]))
    if own == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.all_reduce(torch.ones(1))


def tell_and_wait(directory):
    (directory / os.environ["LOCAL_RANK"]).write_text(str(os.getpid()))
    time.sleep(600)
'''
OBJECTIVES = {
    "ce": {"kind": "ce"},
    "adjusted": {"kind": "ce", "logit_adjustment": 1.0},
    "supcon": {"kind": "supcon"},
    **{contrast: {"kind": "joint", "contrast": contrast} for contrast in get_args(ContrastKind)},
}
TRAIN = TrainConfig.model_validate(
    {
        "model": {"backbone": "test_nfnet", "projection_hidden": 16, "projection_dim": 8},
        "clip_seconds": 2.0,
        "species_per_batch": 3,
        "recordings_per_species": 2,
        "epochs": 2,
        "steps_per_epoch": 2,
        "ema_decay": 0.9,
        "accelerator": "cpu",
        "devices": 2,
    }
)


TOLD = ["epoch", "train_loss", "gradient_norm", "alignment", "uniformity", "orphan_rate", "views", "val_macro_f1"]
"""Columns of the log that must agree."""

Start = Callable[..., tuple[dict[str, torch.Tensor], pd.DataFrame]]


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A module that the processes can import."""
    folder = tmp_path_factory.mktemp("functions")
    (folder / "ranked_functions.py").write_text(FUNCTIONS)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("ranked_functions")
    finally:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


@pytest.mark.soak  # that two devices train as one does is shown below
def test_two_processes_give_the_gradients_of_one(functions: ModuleType) -> None:
    cases = [
        (f"{kind}, {micro_batch}, {dtype}", objective, micro_batch, dtype)
        for kind, objective in OBJECTIVES.items()
        for micro_batch, dtype in ((None, torch.float32), (4, torch.float64))
    ]
    together, alone = run_in_ranks(functions.gradients, (cases,), 2), functions.gradients(cases)
    assert together.keys() == alone.keys()
    for name, expected in alone.items():
        assert together[name].keys() == expected.keys()
        tolerance = 1e-5 if "32" in name else 1e-12
        largest = max(np.abs(gradient).max() for gradient in expected.values())
        for key, gradient in expected.items():
            np.testing.assert_allclose(together[name][key], gradient, rtol=0, atol=tolerance * max(1, largest))


@pytest.fixture
def start(fold_data: FoldData, tmp_path: Path) -> Start:
    """Trains in a folder and returns the weights and the log."""

    def train(config: TrainConfig, name: str, function: Callable[..., Path] = fit) -> Any:
        torch.manual_seed(0)
        model = build_model(config.model, 3)
        (tmp_path / name).mkdir(exist_ok=True)
        arguments = (model, fold_data, config, Workspace(tmp_path), tmp_path / name)
        path = fit(*arguments) if config.devices == 1 else run_in_ranks(function, arguments, config.devices)
        return _weights(path), pd.read_csv(tmp_path / name / "logs" / "metrics.csv")[TOLD]

    return train


def test_training_on_two_devices_is_that_on_one(start: Start) -> None:
    (weights, log), (expected, other) = start(TRAIN, "whole"), start(TRAIN.model_copy(update={"devices": 1}), "alone")
    for key, value in weights.items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=2e-4)
    pd.testing.assert_frame_equal(log, other, atol=1e-3, rtol=1e-4)


@pytest.mark.soak
def test_training_on_two_devices_resumes_exactly(start: Start, functions: ModuleType) -> None:
    weights, log = start(TRAIN, "whole")
    with pytest.raises(ValueError, match="epoch 1 does not suit rank 0"):
        start(TRAIN, "resumed", functions.fail_in_the_second_epoch)
    resumed, other = start(TRAIN, "resumed")
    assert all(torch.equal(resumed[key], value) for key, value in weights.items())
    pd.testing.assert_frame_equal(log, other)


def test_synchronised_batch_norm_keeps_activations_and_names() -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig(backbone="test_efficientnet"), 3).eval()
    log_mel = -50 + 10 * torch.randn(2, 1, 32, 32)
    expected, names = model(log_mel), list(model.state_dict())
    converted = synchronise_batch_norm(model).eval()
    assert any(isinstance(module, nn.SyncBatchNorm) for module in converted.modules())
    assert list(converted.state_dict()) == names
    torch.testing.assert_close(converted(log_mel), expected)


def test_a_batch_that_cannot_be_split_is_refused(fold_data: FoldData, tmp_path: Path) -> None:
    config = TRAIN.model_copy(update={"recordings_per_species": 1, "devices": 2})
    with pytest.raises(ValueError, match="3 recordings cannot be split over devices=2"):
        fit(build_model(config.model, 3), fold_data, config, Workspace(tmp_path), tmp_path)


def test_a_killed_process_ends_all_and_is_named(functions: ModuleType) -> None:
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="rank 1 ended with exit code -9"):
        run_in_ranks(functions.die, (1,), 2)
    assert time.monotonic() - started < 60


@pytest.mark.soak
def test_processes_end_with_the_one_that_started_them(functions: ModuleType, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from birdclef.devices.ranks import run_in_ranks\nimport ranked_functions\n"
        "if __name__ == '__main__':\n    run_in_ranks(ranked_functions.tell_and_wait, (Path(sys.argv[1]),), 2)\n"
    )
    (tmp_path / "parent.py").write_text(program)
    ranks = [tmp_path / "0", tmp_path / "1"]
    with subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]) as parent:
        try:
            _wait_until(lambda: all(rank.exists() and rank.read_text() for rank in ranks))
            children = [int(rank.read_text()) for rank in ranks]
        finally:
            parent.kill()
    _wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240  # on a busy machine three processes import PyTorch for a minute
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    return state
