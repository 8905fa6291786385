"""Which settings make sense for which kind of features; all others are refused before anything is computed."""

from birdclef.config import AugmentConfig, EmbeddingAugmentConfig, PredictConfig, TrainConfig
from birdclef.pooling import POOLS
from cache.config import FeatureConfig


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
