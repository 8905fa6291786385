"""Training on strips whose species is the band that rings, in a real store."""

import dataclasses
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig

from birdclef.config.objective import ObjectiveConfig
from birdclef.config.train import TrainConfig
from birdclef.metrics.secondary_species import mark_secondary
from birdclef.model.network import SpeciesModel, build_model, create_backbone
from birdclef.strips.fold import FoldData
from birdclef.training.data import TrainingData, load_validation
from birdclef.training.fit import fit
from birdclef.training.lightning_module import SpeciesLightningModule
from birdclef.training.objective import build_objective
from cache.config.features import LogMelConfig
from cache.store.part_writer import PartWriter
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

FEATURES = LogMelConfig(sample_rate=1600, n_fft=64, hop_length=100, n_mels=24, fmin=0, fmax=800)  # 16 frames/s
SPECIES = ["low", "middle", "high"]
NO_PAIRS = mark_secondary(pd.DataFrame({"label_index": [0], "secondary_labels": [""]}), SPECIES)


@pytest.fixture(scope="module")
def ringing(tmp_path_factory: pytest.TempPathFactory) -> FoldData:
    """Twelve training and six validation recordings; each species rings in bands of its own, over noise."""
    store = tmp_path_factory.mktemp("features")
    writer = PartWriter(FeatureDirectory(store), FEATURES.n_mels)
    generator = np.random.default_rng(3)
    rows = []
    for number in range(18):
        label = number % len(SPECIES)
        strip = generator.normal(-60, 3, (80, FEATURES.n_mels))
        strip[(np.arange(80) // 4) % 3 == 0, 8 * label + 2 : 8 * label + 6] += 30
        writer.add_strip(f"sha-{number}", strip.astype(np.float32))
        row = {"recording_id": f"r{number}", "label_index": label, "sha256": f"sha-{number}", "secondary_labels": ""}
        rows.append(row)
    writer.publish()
    table = pd.DataFrame(rows)
    return FoldData(
        table[:12].reset_index(drop=True), table[12:].reset_index(drop=True), SPECIES, FEATURES, FeatureDirectory(store)
    )


def config(**changes: Any) -> TrainConfig:
    settings = {
        "model": {"backbone": "test_resnet", "projection_hidden": 32, "projection_dim": 16},
        "augment": {"warp_frames": 4},
        "clip_seconds": 2.0,
        "species_per_batch": 3,
        "recordings_per_species": 2,
        "epochs": 2,
        "learning_rate": 3e-3,
        "head_learning_rate_factor": 1.0,
        "ema_decay": 0.9,
        "accelerator": "cpu",
    }
    return TrainConfig.model_validate(settings | changes)


def start(train_config: TrainConfig, classes: int = 3) -> SpeciesModel:
    torch.manual_seed(0)
    return build_model(train_config.model, classes)


def train(fold: FoldData, train_config: TrainConfig, directory: Path) -> dict[str, torch.Tensor]:
    """Returns the state that training ends with."""
    checkpoint = fit(start(train_config), fold, train_config, Workspace(directory), directory)
    state: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["state_dict"]
    return state


def read_log(directory: Path) -> pd.DataFrame:
    return pd.read_csv(directory / "logs" / "metrics.csv")


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


class KilledError(Exception):
    """Stands for the death of a process."""


def interrupt(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Let training die in an epoch, after its first step."""
    original = SpeciesLightningModule.training_step

    def dying(self: SpeciesLightningModule, views: Any, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == epoch and batch_idx == 1:
            raise KilledError
        return original(self, views, batch_idx)

    monkeypatch.setattr(SpeciesLightningModule, "training_step", dying)


@pytest.mark.parametrize("objective", ["ce", "supcon", "joint"])
def test_species_that_ring_in_their_own_bands_are_told_apart(ringing: FoldData, tmp_path: Path, objective: str) -> None:
    settings = {"kind": objective, "classifier_epochs": 1}
    train(ringing, config(objective=settings, epochs=2, steps_per_epoch=15, species_exponent=0.0), tmp_path)
    assert read_log(tmp_path)["val_macro_f1"].dropna().iloc[-1] == 1.0


@pytest.mark.parametrize(
    ("objective", "contrast"),
    [
        pytest.param("ce", "supcon", marks=pytest.mark.soak),
        pytest.param("joint", "balanced", marks=pytest.mark.soak),
        ("supcon", "parametric"),
    ],
)
def test_a_run_that_died_ends_with_the_weights_of_one_that_did_not(
    ringing: FoldData, tmp_path: Path, objective: str, contrast: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(
        objective={"kind": objective, "contrast": contrast, "classifier_epochs": 2},
        epochs=3,
        steps_per_epoch=2,
        model={"backbone": "test_resnet", "dropout": 0.3, "drop_path": 0.1},
        micro_batch=5,
    )
    unbroken = train(ringing, settings, tmp_path / "unbroken")
    for epoch in (1, 2, 3) if objective == "supcon" else (1, 2):
        with monkeypatch.context() as patch:
            interrupt(patch, epoch)
            with pytest.raises(KilledError):
                train(ringing, settings, tmp_path / "died")
    assert_same(train(ringing, settings, tmp_path / "died"), unbroken)
    columns = ["epoch", "step", "train_loss", "val_macro_f1", "val_cross_entropy"]
    pd.testing.assert_frame_equal(read_log(tmp_path / "died")[columns], read_log(tmp_path / "unbroken")[columns])


def test_the_contrast_falls_with_the_steps_of_the_training(
    ringing: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    original = ObjectiveConfig.contrastive_weight_at

    def watch(self: ObjectiveConfig, progress: float) -> float:
        seen.append(progress)
        return original(self, progress)

    monkeypatch.setattr(ObjectiveConfig, "contrastive_weight_at", watch)
    train(ringing, config(objective={"contrastive_schedule": "falling"}, epochs=2, steps_per_epoch=4), tmp_path)
    assert seen == [step / 8 for step in range(8)]


def test_a_torn_log_does_not_stop_a_resumed_run(
    ringing: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KilledError):
            train(ringing, config(steps_per_epoch=2), tmp_path)
    (tmp_path / "logs" / "metrics.csv").write_text("")
    train(ringing, config(steps_per_epoch=2), tmp_path)
    assert set(read_log(tmp_path)["epoch"].dropna()) == {1.0}


def test_the_same_seed_gives_the_same_weights(ringing: FoldData, tmp_path: Path) -> None:
    first, second, other = (
        train(ringing, config(seed=seed), tmp_path / name) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert_same(first, second)
    assert_same(first, train(ringing, config(seed=1, residency="stream"), tmp_path / "streamed"))
    assert not torch.equal(first["model.classifier.weight"], other["model.classifier.weight"])


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_encoder_rests_while_the_classifier_of_supcon_learns(
    ringing: FoldData, tmp_path: Path, ema_decay: float
) -> None:
    settings = {"kind": "supcon", "classifier_epochs": 1}
    short = train(ringing, config(objective=settings, ema_decay=ema_decay), tmp_path / "short")
    settings["classifier_epochs"] = 3
    long = train(ringing, config(objective=settings, ema_decay=ema_decay), tmp_path / "long")
    encoder = [name for name in short if name.startswith(("model.backbone", "model.projection"))]
    assert all(torch.equal(short[name], long[name]) for name in encoder)
    assert not torch.equal(short["model.classifier.weight"], long["model.classifier.weight"])
    log = read_log(tmp_path / "long").groupby("epoch").first()
    assert log["train_contrast"].notna().tolist() == [True, True, False, False, False]
    assert log["train_cross_entropy"].notna().tolist() == [False, False, True, True, True]


def test_frozen_stages_keep_weights_and_batch_norm_statistics(ringing: FoldData, tmp_path: Path) -> None:
    settings = config(model={"backbone": "test_resnet", "frozen_stages": 2}, ema_decay=0.0)
    before = {f"model.{name}": value.clone() for name, value in start(settings).state_dict().items()}
    after = train(ringing, settings, tmp_path)
    frozen = [
        name
        for name in after
        if name.startswith(("model.backbone.conv1", "model.backbone.bn1", "model.backbone.layer1"))
    ]
    learning = [name for name in after if name.startswith("model.backbone.layer4") and name.endswith("weight")]
    assert frozen
    assert learning
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not any(torch.equal(before[name], after[name]) for name in learning)


def test_batch_norm_of_pretrained_weights_can_keep_its_statistics(ringing: FoldData, tmp_path: Path) -> None:
    pretrained = create_backbone("test_resnet", 0.0, pretrained=False)
    torch.save(pretrained.state_dict(), tmp_path / "pretrained.pt")
    model = {"backbone": "test_resnet", "weights": str(tmp_path / "pretrained.pt"), "frozen_batch_norm": True}
    settings = config(model=model, ema_decay=0.0)
    after = train(ringing, settings, tmp_path)
    statistics = [name for name in after if name.endswith(("running_mean", "running_var"))]
    assert statistics
    before = {f"model.backbone.{name}": value for name, value in pretrained.state_dict().items()}
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["model.backbone.bn1.weight"], after["model.backbone.bn1.weight"])
    with pytest.raises(ValueError, match="keeps statistics that weights=none does not have"):
        config(model={**model, "weights": "none"})


def test_the_average_follows_the_recurrence_with_a_rising_decay(
    ringing: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visited: list[torch.Tensor] = []
    original = SpeciesLightningModule.on_train_batch_start

    def record(self: SpeciesLightningModule, batch: Any, batch_idx: int) -> None:
        visited.append(self.model.classifier.weight.detach().clone())
        original(self, batch, batch_idx)

    monkeypatch.setattr(SpeciesLightningModule, "on_train_batch_start", record)
    settings = config(epochs=1, steps_per_epoch=4, ema_decay=0.9)
    averaged = train(ringing, settings, tmp_path / "averaged")["model.classifier.weight"]
    last = train(ringing, config(epochs=1, steps_per_epoch=4, ema_decay=0.0), tmp_path / "plain")
    expected = visited[1].double()  # the first update copies the weights
    for update, weights in enumerate([*visited[2:4], last["model.classifier.weight"]], start=1):
        kept = min(0.9, (1 + update) / (10 + update))
        expected = kept * expected + (1 - kept) * weights.double()
    assert torch.allclose(averaged.double(), expected, atol=1e-6)
    assert not torch.allclose(averaged, last["model.classifier.weight"], atol=1e-4)


def test_a_loss_that_is_not_finite_stops_training_with_a_remedy(ringing: FoldData, tmp_path: Path) -> None:
    too_high = {"learning_rate": 1e30, "clip_norm": 1e9}  # which a configuration refuses
    settings = config(warmup_share=0.0, steps_per_epoch=5).model_copy(update=too_high)
    with pytest.raises(
        FloatingPointError, match=r"loss is nan at epoch (\d+), step (\d+)\. Its batch is in .*\.pt\. Low"
    ):
        train(ringing, settings, tmp_path)
    batch = torch.load(tmp_path / "non_finite_batch.pt", weights_only=True)
    data = TrainingData(ringing, settings, torch.device("cpu"))
    recordings = torch.from_numpy(data.draw_batches(batch["epoch"])[batch["step"]])
    views = data.make_views(batch["epoch"], batch["step"], recordings)
    assert torch.equal(batch["crops"], views.crops)
    names = ringing.train["recording_id"][views.recordings.tolist()]
    assert batch["recordings"] == names.tolist()


def test_secondary_species_of_a_validation_recording_are_no_error(
    ringing: FoldData, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config()
    heard = ringing.validation.assign(secondary_labels=["middle", "", "", "high", "", ""])  # labels 0 1 2 0 1 2
    validation = load_validation(replace(ringing, validation=heard), settings, torch.device("cpu"))
    objective = build_objective(settings.objective, torch.full((3,), 1 / 3), 128, torch.Generator())
    rows = validation.windows[0]
    module = SpeciesLightningModule(
        start(settings), objective, settings, 1, (validation.labels, rows, validation.ignored)
    )
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: float(value)}))
    shares = torch.full((6, 3), 0.2)
    shares[torch.arange(6), torch.tensor([1, 1, 2, 2, 1, 0])] = 0.6  # two secondary species, and one error
    module._window_logits = [shares.log()[rows]]
    module.on_validation_epoch_end()
    assert logged["val_accuracy"] == pytest.approx(5 / 6)
    assert logged["val_macro_f1"] == pytest.approx((2 * 2 / 5 + 1 + 2 * 1 / 3) / 3)
    terms = [0.2 / 0.4, 0.6, 0.6, 0.2 / 0.4, 0.6, 0.2]
    assert logged["val_cross_entropy"] == pytest.approx(-np.log(terms).mean(), rel=1e-5)


def test_only_matrices_decay_and_heads_learn_faster(ringing: FoldData) -> None:
    settings = config(weight_decay=0.1, learning_rate=1e-3, head_learning_rate_factor=10.0, warmup_share=0.0)
    model = start(settings)
    objective = build_objective(settings.objective, torch.full((3,), 1 / 3), 128, torch.Generator())
    module = SpeciesLightningModule(model, objective, settings, 1, (torch.zeros(1), torch.zeros(1), NO_PAIRS))
    configured: OptimizerLRSchedulerConfig = module.configure_optimizers()
    decay_of, rate_of = {}, {}
    for group in configured["optimizer"].param_groups:
        for parameter in group["params"]:
            decay_of[id(parameter)], rate_of[id(parameter)] = group["weight_decay"], group["initial_lr"]
    for name, parameter in model.named_parameters():
        assert decay_of[id(parameter)] == (0.1 if parameter.ndim > 1 else 0.0), name
        assert rate_of[id(parameter)] == pytest.approx(1e-3 if name.startswith("backbone") else 1e-2), name


@pytest.mark.parametrize("precision", ["auto", "32", "bf16"])
def test_every_precision_that_a_cpu_has_trains(ringing: FoldData, tmp_path: Path, precision: str) -> None:
    state = train(ringing, config(precision=precision, epochs=1), tmp_path)
    assert all(torch.isfinite(value).all() for value in state.values())
    assert state["model.classifier.weight"].dtype == torch.float32


def test_training_ends_once_the_loss_is_flat(
    ringing: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("birdclef.training.flat_loss._WINDOW_STEPS", 16)
    train(ringing, config(epochs="auto", max_epochs=12, steps_per_epoch=8), tmp_path)
    assert read_log(tmp_path)["epoch"].max() + 1 < 12  # three species that ring in their own bands are learnt soon


def test_training_of_automatic_length_goes_on_after_kills_to_the_same_end(
    ringing: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(epochs="auto", max_epochs=1, max_steps=8, steps_per_epoch=2)
    whole = train(ringing, settings, tmp_path / "whole")
    for epoch in (2, 3):  # before and after the number of epochs is decided
        with monkeypatch.context() as patch:
            interrupt(patch, epoch)
            with pytest.raises(KilledError):
                train(ringing, settings, tmp_path / "killed")
    assert_same(train(ringing, settings, tmp_path / "killed"), whole)
    assert read_log(tmp_path / "killed")["epoch"].max() + 1 == 4


def test_run_whose_checkpoint_a_power_failure_has_torn_begins_anew_and_comes_to_the_same_end(
    ringing: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(epochs=3)
    whole = train(ringing, settings, tmp_path / "whole")
    interrupt(monkeypatch, 2)
    with pytest.raises(KilledError):
        train(ringing, settings, tmp_path / "killed")
    monkeypatch.undo()
    (tmp_path / "killed" / "checkpoints" / "last.ckpt").write_bytes(b"")
    assert_same(train(ringing, settings, tmp_path / "killed"), whole)
    curves, complete = (read_log(tmp_path / name)[["step", "epoch"]] for name in ("killed", "whole"))
    pd.testing.assert_frame_equal(curves, complete)


def test_learning_curves_end_where_a_power_failure_left_zeros(
    ringing: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(epochs=3)
    interrupt(monkeypatch, 2)
    with pytest.raises(KilledError):
        train(ringing, settings, tmp_path)
    monkeypatch.undo()
    log = tmp_path / "logs" / "metrics.csv"
    log.write_bytes(log.read_bytes()[:-20] + bytes(4000))
    train(ringing, settings, tmp_path)
    assert {0, 2} <= set(read_log(tmp_path)["epoch"])


def test_select_best_keeps_the_epoch_with_the_highest_validation_score(ringing: FoldData, tmp_path: Path) -> None:
    settings = config(select="best", epochs=6)
    checkpoint = fit(start(settings), ringing, settings, Workspace(tmp_path), tmp_path)
    log = read_log(tmp_path).dropna(subset="val_macro_f1")
    best = log.loc[log["val_macro_f1"].idxmax()]
    assert checkpoint.name == "best.ckpt"
    assert torch.load(checkpoint, weights_only=True)["epoch"] == best["epoch"]


def test_select_best_takes_no_epoch_in_which_the_classifier_of_supcon_is_untrained(
    ringing: FoldData, tmp_path: Path
) -> None:
    objective = {"kind": "supcon", "classifier_epochs": 1}
    settings = config(select="best", epochs=2, objective=objective, learning_rate=1e-9)  # all epochs score the same
    checkpoint = fit(start(settings), ringing, settings, Workspace(tmp_path), tmp_path)
    assert torch.load(checkpoint, weights_only=True)["epoch"] == 2


def test_orphans_and_losses_are_logged_for_each_epoch(ringing: FoldData, tmp_path: Path) -> None:
    lonely = ringing.train.drop_duplicates("label_index").reset_index(drop=True)
    train(dataclasses.replace(ringing, train=lonely), config(), tmp_path)
    log = read_log(tmp_path).groupby("epoch").first()
    assert log["orphan_rate"].tolist() == [1.0, 1.0]
    assert log["positives_1-9"].tolist() == [0.0, 0.0]
    assert (log["train_loss"] - log["train_cross_entropy"] - log["train_contrast"]).abs().max() < 1e-5
    assert list((tmp_path / "logs").glob("events.out.tfevents.*"))
    assert (
        json.dumps(sorted(path.name for path in (tmp_path / "checkpoints").iterdir())) == '["best.ckpt", "last.ckpt"]'
    )


def test_batch_of_more_species_than_there_are_is_told(
    ringing: FoldData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "birdclef.training.fit"):
        train(ringing, config(epochs=1, steps_per_epoch=1, species_per_batch=5000), tmp_path)
    (told,) = [record.getMessage() for record in caplog.records if "species_per_batch" in record.getMessage()]
    assert "5000" in told
    assert "3 species" in told
    assert "6 recordings" in told  # two of each species


def test_the_last_epoch_is_validated_whatever_the_interval(ringing: FoldData, tmp_path: Path) -> None:
    train(ringing, config(epochs=5, validate_every=2), tmp_path)
    log = read_log(tmp_path).dropna(subset="val_macro_f1")
    assert log["epoch"].tolist() == [1, 3, 4]
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()


def test_telemetry_is_logged_each_epoch(ringing: FoldData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    original = SpeciesLightningModule.on_before_optimizer_step

    def record(self: SpeciesLightningModule, optimizer: torch.optim.Optimizer) -> None:
        gradients = [value.grad.flatten() for value in self.model.parameters() if value.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))
        original(self, optimizer)

    monkeypatch.setattr(SpeciesLightningModule, "on_before_optimizer_step", record)
    started = time.perf_counter()
    train(ringing, config(epochs=2, steps_per_epoch=3, clip_norm=1e-3), tmp_path)
    passed = time.perf_counter() - started
    log = read_log(tmp_path).groupby("epoch").first()
    assert log["gradient_norm"].tolist() == pytest.approx([np.mean(norms[:3]), np.mean(norms[3:])], rel=1e-4)
    assert ((log["alignment"] >= 0) & (log["alignment"] <= 4)).all()
    assert (log["uniformity"] <= 0).all()
    seconds = log[["seconds_data", "seconds_step", "seconds_validation"]]
    assert (seconds > 0).all(axis=None)
    assert seconds.to_numpy().sum() < passed


def test_prototypes_are_learnt_without_decay_at_the_rate_of_the_heads(ringing: FoldData, tmp_path: Path) -> None:
    settings = config(
        objective={"contrast": "balanced"}, weight_decay=0.1, learning_rate=1e-3, head_learning_rate_factor=10.0
    )
    objective = build_objective(settings.objective, torch.full((3,), 1 / 3), 128, torch.Generator())
    module = SpeciesLightningModule(start(settings), objective, settings, 1, (torch.zeros(1), torch.zeros(1), NO_PAIRS))
    configured: OptimizerLRSchedulerConfig = module.configure_optimizers()
    (group,) = [
        group
        for group in configured["optimizer"].param_groups
        if any(parameter is objective.contrast.prototypes for parameter in group["params"])  # type: ignore[union-attr]
    ]
    assert (group["weight_decay"], group["initial_lr"]) == (0.0, pytest.approx(1e-2))
    first, second = (
        train(ringing, config(objective={"contrast": "balanced"}, epochs=epochs), tmp_path / str(epochs))
        for epochs in (1, 2)
    )
    assert not torch.equal(first["objective.contrast.prototypes"], second["objective.contrast.prototypes"])
