"""`seed.yaml` line by line against the original recipe: its numbers, and what its words mean for model and loss."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from birdclef.config.train import TrainConfig
from birdclef.losses.contrast import ContrastBatch
from birdclef.model.network import SpeciesModel, build_model, freeze_stages
from birdclef.training.objective import build_objective
from flows.experiment import ExperimentConfig, load_config

SEED = Path(__file__).resolve().parents[2] / "configs" / "seed.yaml"
SPECIES = 264


@pytest.fixture(scope="module")
def experiment() -> ExperimentConfig:
    return load_config(SEED)


@pytest.fixture(scope="module")
def member(experiment: ExperimentConfig) -> TrainConfig:
    (member,) = experiment.train.values()
    return member


@pytest.fixture(scope="module")
def model(member: TrainConfig) -> SpeciesModel:
    return build_model(member.model, SPECIES, load_weights=False)


@pytest.mark.parametrize(
    ("line", "setting", "value"),
    [
        ("n_mels=128", "features.n_mels", 128),
        ("hop_length=512", "features.hop_length", 512),
        ("n_fft=2048", "features.n_fft", 2048),
        ("audio of the competition", "features.sample_rate", 32_000),
        ("time masking (max 20% length)", "augment.time_mask_share", 0.2),
        ("a mask along the time axis", "augment.time_masks", 1),
        ("frequency masking (max 10% bands)", "augment.frequency_mask_share", 0.1),
        ("a mask of frequency bands", "augment.frequency_masks", 1),
        ("random gain of 6 dB either way", "augment.gain_db", 6.0),
        ("a pre-trained CNN", "model.weights", "hub"),
        ("EfficientNet-B4", "model.backbone", "tf_efficientnet_b4.ns_jft_in1k"),
        ("normalised over the data set", "model.normalisation", "dataset"),
        ("a classifier on the 128 of the embedding", "model.classifier_on", "embedding"),
        ("supervised contrastive loss", "objective.kind", "supcon"),
        ("of the published form", "objective.contrast", "supcon"),
        ("temperature 0.07", "objective.temperature", 0.07),
        ("summed over the anchors", "objective.reduction", "sum"),
        ("every sample of the class is a positive alike", "objective.same_recording_weight", 1.0),
        ("no prior", "objective.logit_adjustment", 0.0),
        ("lr=3e-4", "learning_rate", 3e-4),
        ("for the heads too", "head_learning_rate_factor", 1.0),
        ("and for the classifier", "objective.classifier_learning_rate", 3e-4),
        ("weight_decay=1e-5", "weight_decay", 1e-5),
        ("mixed precision where there is a GPU", "precision", "auto"),
        ("two views of a recording", "views", 2),
        ("no average of weights", "ema_decay", 0.0),
    ],
)
def test_number_of_the_recipe(experiment: ExperimentConfig, line: str, setting: str, value: Any) -> None:
    (member,) = experiment.train
    place: Any = experiment if setting.startswith("features.") else experiment.train[member]
    for name in setting.split("."):
        place = getattr(place, name)
    assert place == value, line


@pytest.mark.parametrize(
    "name",
    ["gain", "background", "noise", "stretch", "warp", "mask"],
)
def test_every_augmentation_of_the_recipe_happens(member: TrainConfig, name: str) -> None:
    assert getattr(member.augment, f"{name}_probability") > 0


def test_batches_hold_512_recordings(member: TrainConfig) -> None:
    assert member.species_per_batch * member.recordings_per_species == 512


def test_there_is_smoothing_clipping_and_warm_up(member: TrainConfig) -> None:
    assert 0 < member.objective.label_smoothing < 1
    assert member.clip_norm > 0
    assert 0 < member.warmup_share < 1


def test_views_are_averaged_at_test_time(experiment: ExperimentConfig) -> None:
    assert len(experiment.predict.shift_seconds) * len(experiment.predict.gain_db) > 1


def test_projection_is_512_relu_128(model: SpeciesModel) -> None:
    first, activation, second = model.projection
    assert isinstance(first, nn.Linear)
    assert isinstance(activation, nn.ReLU)
    assert isinstance(second, nn.Linear)
    assert (first.in_features, first.out_features) == (1792, 512)  # EfficientNet-B4's features
    assert (second.in_features, second.out_features) == (512, 128)


def test_classifier_is_linear_from_128_to_the_species(model: SpeciesModel) -> None:
    assert (model.classifier.in_features, model.classifier.out_features) == (128, SPECIES)
    heads = model.heads(torch.randn(2, 1792))
    torch.testing.assert_close(model.classifier(heads.embeddings), heads.logits)


def test_early_layers_are_frozen_and_deeper_ones_learn(member: TrainConfig) -> None:
    backbone = build_model(member.model, SPECIES, load_weights=False).backbone
    freeze_stages(backbone, member.model.frozen_stages)
    learns = {name: parameter.requires_grad for name, parameter in backbone.named_parameters()}
    assert not any(learns[name] for name in learns if name.startswith(("conv_stem", "bn1", "blocks.0", "blocks.1")))
    assert all(learns[name] for name in learns if name.startswith(("blocks.2", "blocks.6", "conv_head")))


def test_loss_is_the_formula(member: TrainConfig) -> None:
    """-1 / (N_y - 1) over the positives of each anchor, summed over the anchors."""
    generator = np.random.default_rng(0)
    labels, embeddings = [0, 0, 0, 1, 1, 2, 2, 2, 2], generator.normal(size=(9, 128))
    tau, total = member.objective.temperature, 0.0
    z = [row / math.sqrt(float(row @ row)) for row in embeddings]
    for i in range(9):
        denominator = sum(math.exp(float(z[i] @ z[k]) / tau) for k in range(9) if k != i)
        for j in range(9):
            if j != i and labels[j] == labels[i]:
                share = math.exp(float(z[i] @ z[j]) / tau) / denominator
                total += -1 / (labels.count(labels[i]) - 1) * math.log(share)
    batch = ContrastBatch(torch.from_numpy(embeddings), torch.tensor(labels), torch.arange(9))
    shares = torch.full((3,), 1 / 3)
    built = build_objective(member.objective, shares, 128, torch.Generator()).contrast
    assert built is not None
    assert built(batch).item() == pytest.approx(total)
