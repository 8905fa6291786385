from pathlib import Path

import numpy as np
import pytest
import torch

from birdclef.config.model import ModelConfig
from birdclef.config.predict import PredictConfig
from birdclef.model.network import SpeciesModel, build_model
from birdclef.model.trained_run import TrainedRun
from birdclef.serving.classifier import assemble_classifier
from cache.config.features import LogMelConfig
from cache.workspace.feature_directory import FeatureDirectory

FEATURES = LogMelConfig(sample_rate=8000, n_fft=256, hop_length=100, n_mels=32, fmin=50, fmax=4000)  # 80 frames/s


def make_model(seed: int) -> SpeciesModel:
    torch.manual_seed(seed)
    built = build_model(ModelConfig(backbone="test_resnet", normalisation="dataset", projection_hidden=8), 3)
    torch.nn.init.normal_(built.classifier.weight, std=0.5)  # opinions that differ
    return built.eval()


def test_members_without_a_common_window_are_refused() -> None:
    first, other = (
        TrainedRun(make_model(0), ["ant", "bee", "cat"], FEATURES, seconds, 0, "split", FeatureDirectory(Path()))
        for seconds in (2.0, 5.0)
    )
    with pytest.raises(ValueError, match=r"members 'a' and 'b' differ in species, features or clip_seconds"):
        assemble_classifier({"a": [first], "b": [other]}, PredictConfig(), "mean", np.ones(2), 1.0, np.ones(3))
