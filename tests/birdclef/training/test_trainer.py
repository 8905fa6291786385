"""Where the average of weights lies; what it is, the tests of the loop compute."""

from types import SimpleNamespace
from typing import Any, cast

import lightning.pytorch as pl
import torch

from birdclef.training.trainer import MovingAverage


def test_average_lies_where_the_model_will_be_and_its_updates_are_counted_on_the_host() -> None:
    model = pl.LightningModule()
    model.classifier = torch.nn.Linear(2, 3)
    average = MovingAverage(0.9, None)
    device = torch.device("meta")
    trainer = cast("pl.Trainer", SimpleNamespace(strategy=SimpleNamespace(root_device=device)))
    average.setup(trainer, model, "fit")
    saved: dict[str, Any] = {"state_dict": {}}
    average.on_save_checkpoint(trainer, model, saved)
    assert {name: value.device for name, value in saved["state_dict"].items()} == {
        "classifier.weight": device,
        "classifier.bias": device,
    }
    assert saved["averaging_state"]["n_averaged"].device.type == "cpu"
