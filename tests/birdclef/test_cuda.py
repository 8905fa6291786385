"""On a CUDA device everything is computed as on the CPU, nothing on the way makes the host wait, and runs go on."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from birdclef.config.model import ModelConfig
from birdclef.config.objective import ContrastKind, ObjectiveConfig
from birdclef.config.train import TrainConfig
from birdclef.devices.host_copy import HostCopy
from birdclef.devices.peak_memory import PeakMemory
from birdclef.inference.views import View, predict_view
from birdclef.losses.contrast import ContrastBatch
from birdclef.losses.supcon import SupConLoss
from birdclef.model.network import Heads, build_model
from birdclef.strips.fold import FoldData
from birdclef.strips.residency import load_strips
from birdclef.strips.windows import plan_windows
from birdclef.training.data import TrainingData, Views
from birdclef.training.fit import fit
from birdclef.training.lightning_module import SpeciesLightningModule
from birdclef.training.micro_batches import heads_in_chunks
from birdclef.training.objective import Objective, build_objective
from birdclef.training.trainer import MovingAverage
from cache.store.strip_store import StripStore
from cache.workspace.workspace import Workspace

pytestmark = pytest.mark.gpu

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CONTRASTS = get_args(ContrastKind)
SETTINGS = {
    "model": {"backbone": "test_resnet", "projection_hidden": 32, "projection_dim": 16, "normalisation": "dataset"},
    "augment": {"warp_frames": 4, "noise_probability": 0.5},
    "clip_seconds": 2.0,
    "species_per_batch": 3,
    "recordings_per_species": 2,
    "epochs": 4,
    "steps_per_epoch": 4,
    "learning_rate": 3e-3,
    "ema_decay": 0.9,
}
MIXED = {"warp_frames": 4, "noise_probability": 0.5, "mixup_alpha": 0.4}


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    """Convolutions and products in float32, not in the tensor cores' shorter format."""
    with torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        yield
        torch.set_float32_matmul_precision(before)


@contextmanager
def waiting_forbidden() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_average_is_updated_and_a_loss_is_copied_without_waiting() -> None:
    model = pl.LightningModule().to(CUDA)
    model.classifier = nn.Linear(64, 32, device=CUDA)
    average = MovingAverage(0.9, None)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=CUDA), global_step=0)
    average.setup(cast("pl.Trainer", trainer), model, "fit")
    with waiting_forbidden():
        for trainer.global_step in (1, 2, 3):
            average.on_train_batch_end(cast("pl.Trainer", trainer), model, None, None, 0)
        loss = HostCopy(model.classifier.weight.sum().detach())
    assert loss.value() == pytest.approx(float(model.classifier.weight.sum()), rel=1e-6)


def configure(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(SETTINGS | changes)


def make_objective(contrast: str, device: torch.device) -> Objective:
    config = ObjectiveConfig.model_validate({"kind": "joint", "contrast": contrast, "logit_adjustment": 1.0})
    generator = torch.Generator().manual_seed(0)
    return build_objective(config, torch.tensor([0.5, 0.3, 0.2]), 8, generator).to(device)


def make_heads(device: torch.device) -> tuple[Heads, Views]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])
    secondary = torch.zeros(8, 3, dtype=torch.bool)
    secondary[1, 2] = True
    embeddings, logits = torch.randn(8, 8, generator=generator), torch.randn(8, 3, generator=generator)
    views = Views(torch.empty(8, 1, 1, 1), labels, torch.eye(3)[labels], torch.arange(8) // 2, secondary)
    there = {field.name: getattr(views, field.name).to(device) for field in dataclasses.fields(views)}
    return Heads(embeddings.to(device).requires_grad_(), logits.to(device).requires_grad_()), Views(**there)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_objectives_and_their_gradients_are_those_of_the_cpu(contrast: str) -> None:
    found = []
    for device in (CPU, CUDA):
        heads, views = make_heads(device)
        losses = make_objective(contrast, device)(heads, views, classifying=False)
        losses["loss"].backward()
        assert heads.embeddings.grad is not None
        assert heads.logits.grad is not None
        found.append([*(value.detach().cpu() for value in losses.values()), heads.embeddings.grad.cpu()])
        found[-1].append(heads.logits.grad.cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_objectives_do_not_make_the_host_wait(contrast: str) -> None:
    objective = make_objective(contrast, CUDA)
    heads, views = make_heads(CUDA)
    with waiting_forbidden():
        objective(heads, views, classifying=False)["loss"].backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("contrast", CONTRASTS)
def test_a_large_batch_in_half_precision_is_finite(contrast: str, dtype: torch.dtype) -> None:
    config = ObjectiveConfig.model_validate({"kind": "joint", "contrast": contrast, "temperature": 0.05})
    objective = build_objective(config, torch.full((512,), 1 / 512), 128, torch.Generator().manual_seed(0)).to(CUDA)
    labels = torch.arange(4096, device=CUDA) // 8
    embeddings = torch.randn(4096, 128, device=CUDA, dtype=dtype).requires_grad_()
    logits = torch.randn(4096, 512, device=CUDA, dtype=dtype).requires_grad_()
    views = Views(
        torch.empty(4096, 1, 1, 1, device=CUDA), labels, torch.eye(512, device=CUDA)[labels], labels * 4, None
    )
    with torch.autocast("cuda", dtype):
        loss = objective(Heads(embeddings, logits), views, classifying=False)["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    for gradient in (embeddings.grad, logits.grad):
        assert gradient is not None
        assert torch.isfinite(gradient).all()


def test_memory_of_the_contrastive_loss_grows_with_the_rows_not_with_their_square() -> None:
    peaks = []
    for rows in (8_192, 32_768):
        embeddings = torch.randn(rows, 128, device=CUDA).requires_grad_()
        labels = torch.arange(rows, device=CUDA) // 8
        memory, held = PeakMemory(), torch.cuda.memory_allocated() / 1e6
        SupConLoss(0.1)(ContrastBatch(embeddings, labels, torch.arange(rows, device=CUDA) // 2)).backward()
        peaks.append((memory.read() or 0) - held)
    assert peaks[1] < 6 * peaks[0]
    assert peaks[1] < 4 * 32_768**2 / 1e6 / 4


@pytest.mark.parametrize("kind", ["ce", "supcon", "joint"])
def test_gradient_in_chunks_is_that_of_the_whole_batch(kind: str) -> None:
    torch.manual_seed(0)
    settings = {"backbone": "test_resnet", "projection_hidden": 32, "projection_dim": 16}
    model = build_model(ModelConfig.model_validate(settings), 5).eval().to(CUDA)
    generator = torch.Generator().manual_seed(1)
    log_mel = -40 + 5 * torch.randn(14, 1, 32, 48, generator=generator)
    log_mel = (log_mel + 20 * torch.randn(14, 1, 1, 48, generator=generator)).to(CUDA)  # so that embeddings lie apart
    labels = torch.arange(14, device=CUDA) % 5
    views = Views(log_mel, labels, torch.eye(5, device=CUDA)[labels], torch.arange(14, device=CUDA) // 2, None)
    objective = build_objective(
        ObjectiveConfig.model_validate({"kind": kind}), torch.full((5,), 0.2), 16, torch.Generator()
    ).to(CUDA)
    gradients = []
    for micro_batch in (None, 4):
        model.zero_grad()
        objective(heads_in_chunks(model, log_mel, micro_batch), views, classifying=False)["loss"].backward()
        gradients.append(torch.cat([value.grad.flatten() for value in model.parameters() if value.grad is not None]))
    assert (gradients[0] - gradients[1]).norm() / gradients[0].norm() < 1e-5


def test_views_do_not_depend_on_where_the_strips_are(fold_data: FoldData) -> None:
    recordings = torch.tensor([0, 1, 3, 5])
    views = []
    for residency in ("device", "host", "stream"):
        data = TrainingData(fold_data, configure(residency=residency, objective={"kind": "ce"}, augment=MIXED), CUDA)
        views.append([data.make_views(0, step, recordings) for step in range(3)])
    for other in views[1:]:
        for one, another in zip(views[0], other, strict=True):
            assert one.crops.is_cuda
            torch.testing.assert_close(another.crops, one.crops, rtol=1e-5, atol=1e-3)
            assert torch.equal(another.targets, one.targets)


def test_crops_are_those_of_the_cpu(fold_data: FoldData) -> None:
    """Without what is drawn on the device, whose generator is another one."""
    still = {f"{name}_probability": 0.0 for name in ("filter", "background", "noise", "mask")}
    config = configure(augment={**still, "stretch_probability": 1.0, "warp_probability": 1.0})
    recordings = torch.tensor([5, 0, 2, 4])
    on_cpu, there = (
        TrainingData(fold_data, config, device).make_views(1, 0, recordings).crops for device in (CPU, CUDA)
    )
    torch.testing.assert_close(there.cpu(), on_cpu, rtol=1e-4, atol=1e-3)


def test_views_are_made_without_waiting(fold_data: FoldData) -> None:
    data = TrainingData(fold_data, configure(residency="device", objective={"kind": "ce"}, augment=MIXED), CUDA)
    recordings = torch.from_numpy(data.draw_batches(0)[0])
    expected = data.make_views(0, 0, recordings)
    with waiting_forbidden():
        views = data.make_views(0, 0, recordings)
    assert torch.equal(views.crops, expected.crops)


@pytest.mark.parametrize("precision", ["32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", ["ce", "supcon", "joint"])
def test_training_lowers_the_loss(fold_data: FoldData, tmp_path: Path, kind: str, precision: str) -> None:
    objective = {"kind": kind, "classifier_epochs": 2}
    config = configure(objective=objective, precision=precision, epochs=10, augment={"warp_frames": 4})
    torch.manual_seed(0)
    fit(build_model(config.model, 3), fold_data, config, Workspace(tmp_path), tmp_path)
    losses = pd.read_csv(tmp_path / "logs" / "metrics.csv")["train_loss"].dropna()
    assert losses.iloc[-1] < losses.iloc[0]


def test_a_run_that_died_ends_near_the_weights_of_one_that_did_not(
    fold_data: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(precision="32", objective={"kind": "joint"}, model={**SETTINGS["model"], "dropout": 0.3})  # type: ignore[dict-item]
    original = SpeciesLightningModule.training_step

    def dying(self: SpeciesLightningModule, views: Views, batch_idx: int) -> Tensor:
        if self.current_epoch == 2 and batch_idx == 1:
            raise RuntimeError("killed")
        return original(self, views, batch_idx)

    states = []
    for name in ("unbroken", "died"):
        torch.manual_seed(0)
        model = build_model(config.model, 3)
        if name == "died":
            with monkeypatch.context() as patch:
                patch.setattr(SpeciesLightningModule, "training_step", dying)
                with pytest.raises(RuntimeError, match="killed"):
                    fit(model, fold_data, config, Workspace(tmp_path), tmp_path / name)
            torch.manual_seed(0)
            model = build_model(config.model, 3)
        checkpoint = fit(model, fold_data, config, Workspace(tmp_path), tmp_path / name)
        states.append(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_predictions_are_those_of_the_cpu(fold_data: FoldData) -> None:
    torch.manual_seed(0)
    model = build_model(configure().model, 3).eval()
    names = fold_data.validation["sha256"].tolist()
    logits = []
    for device in (CPU, CUDA):
        strips = load_strips(StripStore(fold_data.store), names, device, "auto")
        windows = plan_windows(strips.lengths, 32, 16)
        logits.append(predict_view(model.to(device), strips, windows, 32, View(gain_db=-3.0), 4).logits)
    torch.testing.assert_close(logits[1].cpu(), logits[0], rtol=1e-3, atol=1e-3)


def test_peak_memory_is_that_of_the_device() -> None:
    memory = PeakMemory()
    torch.empty(250_000_000, dtype=torch.uint8, device=CUDA)
    assert 250 <= (memory.read() or 0) < 400
