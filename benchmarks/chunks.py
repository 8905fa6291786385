"""The gradient of a batch that passes through the model in chunks, against that of the whole batch.

Run: python -m benchmarks chunks small-from-scratch

Batch norm in training mode normalises over a chunk, so the gradients differ. Measured is the cosine between them, for
views in the random order of training and for views whose species lie side by side, before training and after a number
of steps. Each recording has two views. With the statistics of batch norm frozen both gradients must be equal. Dropout
is off.
"""

import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch.nn.functional import cosine_similarity

from benchmarks.page import Page, format_table, publish
from benchmarks.step import prepare
from birdclef.config.train import TrainConfig
from birdclef.model.network import batch_norms, build_model
from birdclef.strips.fold import FoldData
from birdclef.training.data import TrainingData, Views
from birdclef.training.micro_batches import heads_in_chunks
from birdclef.training.objective import build_objective

BATCHES = 5
CHUNKS = (2, 4, 8)
LEARNING_RATE = 1e-3
VIEWS = 2


def main(
    context: typer.Context,
    config: Annotated[str, typer.Argument(help="Preset, or YAML file of an experiment.")] = "small-from-scratch",
    steps: Annotated[int, typer.Option(help="Steps of training before the second measurement.")] = 60,
    page: Page = None,
) -> None:
    """Print the mean cosine of both gradients by the number of chunks and the order of the views."""
    with tempfile.TemporaryDirectory() as folder:
        fold, name, member = prepare(config, species_per_batch=16, folder=Path(folder))
        model = member.model.model_copy(update={"dropout": 0.0, "drop_path": 0.0})
        gradients = Gradients(fold, member.model_copy(update={"model": model, "views": VIEWS}))
        rows = [["before training", *gradients.compare()]]
        gradients.train(steps)
        rows += [[f"after {steps} steps", *gradients.compare()]]
        for norm in batch_norms(gradients.model):
            norm.eval()
        rows += [["statistics frozen", *gradients.compare()]]
        views = len(gradients.draw(0).crops)
    title = f"{name}: {model.backbone}, {views} views"
    header = [f"{order}, {chunks} chunks" for order in ("random order", "species side by side") for chunks in CHUNKS]
    publish(context, "chunks", format_table([title, *header], rows), page)


class Gradients:
    """Gradients of a model, by the micro-batch that passes at a time."""

    def __init__(self, fold: FoldData, config: TrainConfig) -> None:
        self.training = TrainingData(fold, config, torch.device("cpu"))
        torch.manual_seed(0)
        self.model = build_model(config.model, len(fold.species)).train()
        shares = torch.from_numpy(self.training.class_shares).float()
        generator = torch.Generator().manual_seed(0)
        self.objective = build_objective(config.objective, shares, config.model.projection_dim, generator)

    def draw(self, number: int) -> Views:
        """Returns the views of a batch of training."""
        epoch, step = divmod(number, self.training.steps_per_epoch)
        recordings = torch.from_numpy(self.training.draw_batches(epoch)[step])
        return self.training.make_views(epoch, step, recordings)

    def compute(self, views: Views, micro_batch: int | None) -> Tensor:
        """Returns the gradient of all weights as one vector."""
        self.model.zero_grad()
        heads = heads_in_chunks(self.model, views.crops, micro_batch)
        self.objective(heads, views, classifying=False)["loss"].backward()
        gradients = [weight.grad.flatten() for weight in self.model.parameters() if weight.grad is not None]
        return torch.cat(gradients).double()

    def compare(self) -> list[str]:
        """Returns the mean cosine for each order and number of chunks."""
        cosines = torch.zeros(2, len(CHUNKS), dtype=torch.float64)
        for number in range(BATCHES):
            views = self.draw(number)
            whole = self.compute(views, None)
            for row, ordered in enumerate((views, side_by_side(views))):
                for column, chunks in enumerate(CHUNKS):
                    gradient = self.compute(ordered, len(views.crops) // chunks)
                    cosines[row, column] += cosine_similarity(whole, gradient, dim=0) / BATCHES
        return [f"{cosine:.3f}" for cosine in cosines.flatten().tolist()]

    def train(self, steps: int) -> None:
        """Take steps on whole batches."""
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE)
        for number in range(steps):
            self.compute(self.draw(number), None)
            optimiser.step()


def side_by_side(views: Views) -> Views:
    """Returns the same views, those of one species after each other."""
    order = views.targets.argmax(dim=1).argsort(stable=True)
    values = {field.name: getattr(views, field.name) for field in fields(views)}
    return replace(views, **{name: value[order] for name, value in values.items() if isinstance(value, Tensor)})
