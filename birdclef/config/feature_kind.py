"""Which settings make sense for which kind of features; all others are refused before anything is computed."""

import math
from itertools import count

from birdclef.config.augment import AugmentConfig, EmbeddingAugmentConfig
from birdclef.config.model import POOLS
from birdclef.config.predict import PredictConfig
from birdclef.config.train import TrainConfig
from cache.config.features import FeatureConfig

_WHOLE = 1e-6
"""Largest error of a time that is written with six digits, as a share of it."""


def check_member(config: TrainConfig, features: FeatureConfig) -> None:
    """Refuse a member that cannot be trained on some features.

    Raises:
        ValueError: With the setting that must be another one.
    """
    embeds = features.kind == "embedding"
    model = config.model
    if embeds != (model.backbone in POOLS):
        wanted = " or ".join(POOLS) if embeds else "a timm model"
        raise ValueError(f"model.backbone={model.backbone} does not read features.kind={features.kind}: take {wanted}.")
    if embeds != isinstance(config.augment, EmbeddingAugmentConfig):
        wanted_class = EmbeddingAugmentConfig if embeds else AugmentConfig
        raise ValueError(
            f"augment holds settings for another kind of features than features.kind={features.kind}, which takes "
            f"{', '.join(wanted_class.model_fields)}."
        )
    if embeds and (model.weights != "none" or model.frozen_stages or model.drop_path):
        raise ValueError(
            f"model.backbone={model.backbone} has no stages and no weights of its own: set model.weights=none, "
            "model.frozen_stages=0 and model.drop_path=0."
        )
    if embeds and model.normalisation == "band_median":
        raise ValueError("model.normalisation=band_median is for log-mel: take channel, or dataset.")
    if features.kind == "embedding" and config.crop_choice == "active" and not features.score_columns:
        raise ValueError(
            f"crop_choice=active draws crops where {features.model.name} hears birds, but it has no scores: set "
            "crop_choice=uniform, or give `scores` and `labels` in its description."
        )
    check_seconds("clip_seconds", config.clip_seconds, features)


def check_views(config: PredictConfig, features: FeatureConfig) -> None:
    """Refuse views at test time that some features cannot give.

    Raises:
        ValueError: With the setting that must be another one.
    """
    if features.kind == "log_mel":
        return
    for name, plain in (("gain_db", (0.0,)), ("shift_bands", (0,))):
        if (given := getattr(config, name)) != plain:
            raise ValueError(
                f"predict.{name}={list(given)} changes a spectrum, and features.kind=embedding has none: set "
                f"predict.{name}={list(plain)}. Views at other times, predict.shift_seconds, make sense."
            )
    check_seconds("predict.stride_seconds", config.stride_seconds, features)
    for shift_seconds in config.shift_seconds:
        check_seconds("predict.shift_seconds", shift_seconds, features)


def check_seconds(setting: str, seconds: float, features: FeatureConfig) -> None:
    """Refuse a time between two windows of an embedding model; the frames of a log-mel are fine enough for any.

    Raises:
        ValueError: With the setting, its value, the model's stride, and what fits.
    """
    strides = seconds * features.frames_per_second
    if features.kind == "log_mel" or math.isclose(strides, round(strides), rel_tol=_WHOLE, abs_tol=_WHOLE):
        return
    stride = 1 / features.frames_per_second
    around = [f"{number * stride:g}" for number in (math.floor(strides), math.ceil(strides)) if number]
    samples = max(1, round(abs(seconds) * features.sample_rate))
    parts = next(parts for parts in count(math.ceil(abs(strides))) if samples % parts == 0)
    finer = samples / parts / features.sample_rate  # a stride is a whole number of samples
    raise ValueError(
        f"{setting}={seconds:g} is no whole number of strides, and {features.model.name} gives an embedding every "
        f"{stride:g} s: take {' or '.join(around)}, or set stride_seconds of the features to {finer:g}."
    )
