"""A whole training step, data and augmentation included, against the bare step of the same model on one batch.

Run: python -m benchmarks step small-from-scratch

Whole is what `birdclef train` does, through Lightning: crops, augmentation, objective, telemetry, clipping, optimiser
and weight average. Bare is forward, backward and optimiser step of the same model and objective on a constant batch.
Both alternate in one process. Below: what torch's default layout and torch.compile would make of the bare step, and
which share of an epoch passes between steps, making views and waiting, with strips in memory and in the store.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from torch import Tensor

from benchmarks.page import Page, format_table, publish
from birdclef.config.train import TrainConfig
from birdclef.model.network import SpeciesModel, build_model, freeze_stages
from birdclef.strips.fold import FoldData, read_fold
from birdclef.training.data import TrainingData
from birdclef.training.fit import fit
from birdclef.training.objective import build_objective
from cache.features import build_features
from cache.split import build_split
from cache.synth import CorpusPlan, synthesize_corpus
from cache.workspace.workspace import Workspace
from flows.experiment import load_config

REPEATS = 3
STEPS = 8


def main(
    context: typer.Context,
    config: Annotated[str, typer.Argument(help="Preset, or YAML file of an experiment.")] = "small-from-scratch",
    species_per_batch: Annotated[int, typer.Option(help="P; K and views are the configuration's.")] = 16,
    page: Page = None,
) -> None:
    """Print seconds per step of both and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        fold, name, member = prepare(config, species_per_batch, Path(folder))
        bare = BareStep(fold, member)
        whole, alone = [], []
        for repeat in range(REPEATS):
            whole.append(whole_step(fold, member, Path(folder) / f"run{repeat}")["step"])
            alone.append(statistics.median(timed(bare) for _ in range(STEPS)))
        own, floor = statistics.median(whole), statistics.median(alone)
        rows = [["bare", f"{floor:.3f}", "1.00"], ["whole", f"{own:.3f}", f"{own / floor:.2f}"]]
        for label, change in (("bare, channels first", channels_first), ("bare, torch.compile", compiled)):
            rows.append(measure_variant(label, BareStep(fold, member), change, floor))
        waiting = []
        for residency in ("host", "stream"):
            placed = member.model_copy(update={"residency": residency})
            waiting.append([residency, f"{whole_step(fold, placed, Path(folder) / residency)['waiting']:.1%}"])
    size = f"{name}: {member.model.backbone}, {len(bare.crops)} views of {tuple(bare.crops.shape[1:])}"
    steps = format_table([size, "seconds a step", "of the bare one"], rows)
    shares = format_table(["strips", "share of an epoch between steps"], waiting)
    publish(context, f"step-{Path(config).stem}", f"{steps}\n\n{shares}", page)


def prepare(config: str, species_per_batch: int, folder: Path) -> tuple[FoldData, str, TrainConfig]:
    """Returns a fold of a generated corpus, and the first member of an experiment by name, cut to two short epochs."""
    corpus = synthesize_corpus(folder / "corpus", CorpusPlan(recordings=240))
    experiment = load_config(Path(config), [f"data.root={corpus}"])
    workspace = Workspace(folder / "workspace")
    catalogue = build_features(experiment.data, experiment.features, workspace)
    split = build_split(experiment.split, catalogue, workspace)
    (name, member), *_ = experiment.train.items()
    changes = {
        "model": member.model.model_copy(update={"weights": "none"}),
        "species_per_batch": species_per_batch,
        "steps_per_epoch": STEPS,
        "epochs": 2,
        "validate_every": 2,
        "accelerator": "cpu",
    }
    return read_fold(split, 0, workspace), name, member.model_copy(update=changes)


class BareStep:
    """Forward, backward and optimiser step on one batch."""

    def __init__(self, fold: FoldData, config: TrainConfig) -> None:
        training = TrainingData(fold, config, torch.device("cpu"))
        self.views = training.make_views(0, 0, torch.from_numpy(training.draw_batches(0)[0]))
        self.crops = self.views.crops
        self.model = build_model(config.model, len(fold.species)).train()
        for module in freeze_stages(self.model.backbone, config.model.frozen_stages):
            module.eval()
        shares = torch.from_numpy(training.class_shares).float()
        generator = torch.Generator().manual_seed(0)
        self.objective = build_objective(config.objective, shares, config.model.projection_dim, generator)
        self.encode: Callable[[Tensor], Tensor] = self.model.encode
        learning = [one for one in (*self.model.parameters(), *self.objective.parameters()) if one.requires_grad]
        self.optimiser = torch.optim.AdamW(learning, lr=1e-4)

    def __call__(self) -> None:
        """Take one step."""
        heads = self.model.heads(self.encode(self.crops))
        self.objective(heads, self.views, classifying=False)["loss"].backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


def timed(step: BareStep) -> float:
    """Returns the seconds of a step."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def whole_step(fold: FoldData, config: TrainConfig, directory: Path) -> dict[str, float]:
    """Returns the seconds per step of a training's second epoch, and the share of it spent waiting for batches."""
    directory.mkdir()
    fit(build_model(config.model, len(fold.species)), fold, config, Workspace(directory), directory)
    log = pd.read_csv(directory / "logs" / "metrics.csv")[["seconds_data", "seconds_step"]].dropna().iloc[-1]
    total = float(log.sum())
    return {"step": total / STEPS, "waiting": float(log["seconds_data"]) / total}


def channels_first(model: SpeciesModel) -> Callable[[Tensor], Tensor]:
    """Returns the encoder with convolutions in torch's default layout."""
    model.to(memory_format=torch.contiguous_format)

    def encode(log_mel: Tensor) -> Tensor:
        features: Tensor = model.backbone((log_mel - log_mel.median(dim=3, keepdim=True).values) / 10)
        return features

    return encode


def compiled(model: SpeciesModel) -> Callable[[Tensor], Tensor]:
    """Returns the compiled encoder."""
    return torch.compile(model.encode)


def measure_variant(
    label: str, step: BareStep, change: Callable[[SpeciesModel], Callable[[Tensor], Tensor]], floor: float
) -> list[str]:
    """Returns a row of the table."""
    step.encode = change(step.model)
    try:
        step()  # compiles
    except Exception as error:
        return [label, f"cannot run here: {type(error).__name__}", ""]
    seconds = statistics.median(timed(step) for _ in range(STEPS))
    return [label, f"{seconds:.3f}", f"{seconds / floor:.2f}"]
