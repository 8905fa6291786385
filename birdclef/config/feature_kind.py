"""Checks that settings fit the features (log-mel or embeddings) and the model, before anything is computed."""

import math

from birdclef.config.augment import AugmentConfig, EmbeddingAugmentConfig
from birdclef.config.model import POOLS, Normalisation
from birdclef.config.predict import PredictConfig
from birdclef.config.train import TrainConfig
from cache.config.features import FeatureConfig, LogMelConfig
from cache.front_end.mel_scale import bands_between, mel_edges

_MOST_VALUES = 2**24
"""Largest number of values of a window; 64 such windows, as many as are predicted at once, take 4 GB."""
_WHOLE = 1e-6
"""Largest relative rounding error of a time that is written with six digits."""


def check_member(config: TrainConfig, features: FeatureConfig) -> None:
    """Refuse a member whose settings do not fit the features, or change nothing.

    Raises:
        ValueError: If a setting does not fit; the message names the setting and a value that works.
    """
    embeds = features.kind == "embedding"
    model = config.model
    if embeds != (model.backbone in POOLS):
        wanted = " or ".join(POOLS) if embeds else "a timm model"
        raise ValueError(f"model.backbone={model.backbone} does not read features.kind={features.kind}: take {wanted}.")
    if embeds != isinstance(config.augment, EmbeddingAugmentConfig):
        wanted_class = EmbeddingAugmentConfig if embeds else AugmentConfig
        raise ValueError(
            f"augment holds settings for another kind of features than features.kind={features.kind}. Use only these: "
            f"{', '.join(wanted_class.model_fields)}."
        )
    if embeds and (model.weights != "none" or model.frozen_stages or model.drop_path):
        raise ValueError(
            f"model.backbone={model.backbone} has no stages and no weights of its own: set model.weights=none, "
            "model.frozen_stages=0 and model.drop_path=0."
        )
    if embeds and model.normalisation == "band_median":
        raise ValueError("model.normalisation=band_median is for log-mel: take channel or dataset for embeddings.")
    if features.kind == "embedding" and config.crop_choice == "active" and not features.score_columns:
        raise ValueError(
            f"crop_choice=active draws crops where {features.model.name} hears birds, but this model has no scores: "
            "set crop_choice=uniform, or add `scores` and `labels` to the description of the model."
        )
    if isinstance(config.augment, AugmentConfig):
        _check_gain(config.augment, config.model.normalisation)
    if isinstance(config.augment, AugmentConfig) and features.kind == "log_mel":
        _check_song(config.augment, features)
    check_window(config.clip_seconds, features)


def _check_gain(augment: AugmentConfig, normalisation: Normalisation) -> None:
    """Refuse a gain that the model cannot see."""
    if normalisation == "band_median" and augment.gain_probability and augment.gain_db:
        raise ValueError(
            f"augment.gain_probability={augment.gain_probability:g} changes nothing, because "
            "model.normalisation=band_median removes every gain: set augment.gain_probability=0. "
            "augment.filter_probability changes the level of the song."
        )


def _check_song(augment: AugmentConfig, features: LogMelConfig) -> None:
    """Refuse chosen frequencies of song between which no mel band peaks; the default then means all bands."""
    if augment.song_hz == AugmentConfig.model_fields["song_hz"].default:
        return
    low, high = augment.song_hz
    bands = bands_between(features, low, high)
    if bands.start >= bands.stop:
        peaks = mel_edges(features)[1:-1]  # Hz
        raise ValueError(
            f"augment.song_hz=[{low:g}, {high:g}] holds no mel band: with fmin={features.fmin:g}, "
            f"fmax={features.fmax:g}, n_mels={features.n_mels} bands peak from {peaks[0]:.0f} to {peaks[-1]:.0f} Hz. "
            f"Set augment.song_hz=[{math.floor(peaks[0])}, {math.ceil(peaks[-1])}]."
        )


def check_views(config: PredictConfig, features: FeatureConfig, normalisation: Normalisation) -> None:
    """Refuse test-time views that the features do not allow, or that change nothing.

    Args:
        config: Settings of the views.
        features: Features that the model reads.
        normalisation: Normalisation of the model.

    Raises:
        ValueError: If a setting does not fit; the message names the setting and a value that works.
    """
    if features.kind == "log_mel":
        if normalisation == "band_median" and any(config.gain_db):
            raise ValueError(
                f"predict.gain_db={list(config.gain_db)} changes nothing, because model.normalisation=band_median "
                "removes every gain: set predict.gain_db=[0.0]. For more views, set predict.shift_seconds."
            )
        if any(abs(shift) >= features.n_mels for shift in config.shift_bands):
            raise ValueError(
                f"predict.shift_bands={list(config.shift_bands)} moves the whole spectrum out of its "
                f"{features.n_mels} mel bands: take small shifts, such as predict.shift_bands=[-1, 0, 1]."
            )
        return
    for name, plain in (("gain_db", (0.0,)), ("shift_bands", (0,))):
        if (given := getattr(config, name)) != plain:
            raise ValueError(
                f"predict.{name}={list(given)} changes a spectrum, and features.kind=embedding has none: set "
                f"predict.{name}={list(plain)}. For more views, set predict.shift_seconds."
            )
    check_seconds("predict.stride_seconds", config.stride_seconds, features)
    for shift_seconds in config.shift_seconds:
        check_seconds("predict.shift_seconds", shift_seconds, features)


def check_window(clip_seconds: float, features: FeatureConfig) -> None:
    """Refuse a window that fills the memory, or that is not a multiple of the embedding model's stride.

    Raises:
        ValueError: If the window does not fit; the message names the settings and a value that works.
    """
    frames = features.count_frames(clip_seconds)
    if (values := frames * features.channels) > _MOST_VALUES:
        raise ValueError(
            f"clip_seconds={clip_seconds:g} makes windows of {frames} frames with {features.channels} values each, "
            f"{values} in all, and at most {_MOST_VALUES} are possible: set clip_seconds=5, or have fewer frames or "
            "values in the features."
        )
    check_seconds("clip_seconds", clip_seconds, features)


def check_seconds(setting: str, seconds: float, features: FeatureConfig) -> None:
    """Refuse a time that is not a multiple of the embedding model's stride; log-mel allows every time.

    Raises:
        ValueError: If the time does not fit; the message names the setting, the stride, and values that work.
    """
    strides = seconds * features.frames_per_second
    if features.kind == "log_mel" or math.isclose(strides, round(strides), rel_tol=_WHOLE, abs_tol=_WHOLE):
        return
    stride = 1 / features.frames_per_second
    around = [f"{number * stride:g}" for number in (math.floor(strides), math.ceil(strides)) if number]
    samples = max(1, round(abs(seconds) * features.sample_rate))
    small = [part for part in range(1, math.isqrt(samples) + 1) if samples % part == 0]
    parts = min(part for one in small for part in (one, samples // one) if part >= abs(strides))
    finer = samples / parts / features.sample_rate  # because a stride must be a whole number of samples
    raise ValueError(
        f"{setting}={seconds:g} is not a multiple of the stride. {features.model.name} gives an embedding every "
        f"{stride:g} s: take {' or '.join(around)}, or set stride_seconds of the features to {finer:g}."
    )
