"""Settings of one kind of features with the other, each refused with what to set instead."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import pytest

from birdclef.config.augment import AugmentConfig
from birdclef.config.feature_kind import check_member, check_views
from birdclef.config.predict import PredictConfig
from birdclef.config.train import TrainConfig
from cache.config.features import EmbeddingConfig, LogMelConfig

POOL = {"backbone": "attention_pool", "normalisation": "channel"}


@pytest.fixture
def embedding(tiny_model: Path) -> EmbeddingConfig:
    return EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)})


def test_members_that_fit_pass(embedding: EmbeddingConfig) -> None:
    check_member(TrainConfig(), LogMelConfig())
    check_member(TrainConfig.model_validate({"model": POOL, "augment": {"channel_dropout": 0.2}}), embedding)


@pytest.mark.parametrize(
    ("model", "augment", "message"),
    [
        (
            {},
            {"filter_db": 3.0},
            "backbone=tf_efficientnet_b0 does not read features.kind=embedding: take mean",
        ),
        ({**POOL, "weights": "hub"}, {"noise_share": 0.1}, "no weights of its own: set model.weights=none"),
        ({**POOL, "frozen_stages": 1}, {"noise_share": 0.1}, "model.frozen_stages=0"),
        ({"backbone": "mean_pool"}, {"noise_share": 0.1}, "normalisation=band_median is for log-mel: take channel"),
    ],
)
def test_members_for_log_mel_are_refused_on_embeddings(
    embedding: EmbeddingConfig, model: dict[str, Any], augment: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_member(TrainConfig.model_validate({"model": model, "augment": augment}), embedding)


def test_members_for_embeddings_are_refused_on_log_mel() -> None:
    with pytest.raises(ValueError, match=r"mean_pool does not read features\.kind=log_mel: take a timm model"):
        check_member(TrainConfig.model_validate({"model": {"backbone": "mean_pool"}}), LogMelConfig())


def test_crops_where_birds_are_heard_need_a_model_that_says_so(
    embedding: EmbeddingConfig, describe_tiny_model: Callable[..., Path]
) -> None:
    deaf = {"kind": "embedding", "model": str(describe_tiny_model(scores=None, labels=None))}
    member = TrainConfig.model_validate({"model": POOL, "augment": {"noise_share": 0.1}, "crop_choice": "active"})
    check_member(member, embedding)
    check_member(TrainConfig(crop_choice="active"), LogMelConfig())
    with pytest.raises(ValueError, match=r"crop_choice=active draws .* Tiny .* no scores: set crop_choice=uniform"):
        check_member(member, EmbeddingConfig.model_validate(deaf))


@pytest.mark.parametrize("views", [{"gain_db": (0.0, 3.0)}, {"shift_bands": (1,)}])
def test_views_of_a_spectrum_are_refused_on_embeddings(embedding: EmbeddingConfig, views: dict[str, Any]) -> None:
    check_views(PredictConfig(**views), LogMelConfig(), "dataset")
    with pytest.raises(ValueError, match=r"changes a spectrum, and features\.kind=embedding has none"):
        check_views(PredictConfig(**views), embedding, "channel")


@pytest.mark.parametrize("gain_db", [(3.0,), (0.0, -3.0)])
def test_gain_that_the_model_cannot_see_is_refused_as_a_view(gain_db: tuple[float, ...]) -> None:
    config = PredictConfig(gain_db=gain_db)
    check_views(config, LogMelConfig(), "channel")
    check_views(PredictConfig(shift_bands=(0, 1)), LogMelConfig(), "band_median")
    with pytest.raises(
        ValueError, match=r"predict\.gain_db=.*3\.0\] changes nothing, .* set predict\.gain_db=\[0\.0\]"
    ):
        check_views(config, LogMelConfig(), "band_median")


def test_gain_that_the_model_cannot_see_is_refused_as_augmentation() -> None:
    gain = {"gain_probability": 0.5}
    check_member(TrainConfig.model_validate({"augment": gain, "model": {"normalisation": "dataset"}}), LogMelConfig())
    check_member(TrainConfig.model_validate({"augment": {**gain, "gain_db": 0.0}}), LogMelConfig())
    with pytest.raises(ValueError, match=r"gain_probability=0\.5 changes nothing, .* set augment\.gain_probability=0"):
        check_member(TrainConfig.model_validate({"augment": gain}), LogMelConfig())


def test_song_has_its_lowest_frequency_first() -> None:
    with pytest.raises(ValueError, match=r"(?s)song_hz.*set \[800, 9000\]"):
        AugmentConfig(song_hz=(9000.0, 800.0))


def test_song_without_a_mel_band_is_refused_with_values_that_work() -> None:
    """The peaks are librosa's."""
    member = TrainConfig.model_validate({"augment": {"song_hz": [100.0, 200.0]}})
    check_member(member, LogMelConfig())
    features = LogMelConfig(fmin=300.0, n_mels=32)
    peaks = librosa.mel_frequencies(n_mels=34, fmin=300.0, fmax=16_000.0)[1:-1]
    told = rf"^augment\.song_hz=\[100, 200\] holds no mel band: .* peak from {peaks[0]:.0f} to {peaks[-1]:.0f} Hz"
    with pytest.raises(ValueError, match=told) as refused:
        check_member(member, features)
    advised = json.loads(str(refused.value).rpartition("=")[2].removesuffix("."))
    check_member(TrainConfig.model_validate({"augment": {"song_hz": advised}}), features)
    assert advised[0] <= peaks[0]
    assert advised[1] >= peaks[-1]


def test_default_frequencies_of_song_suit_every_sample_rate() -> None:
    check_member(TrainConfig(), LogMelConfig(sample_rate=1600, n_fft=64, hop_length=100, n_mels=24, fmin=0, fmax=800))


@pytest.mark.parametrize("shift", [32, 99, -32])
def test_shift_out_of_all_bands_is_refused(shift: int) -> None:
    check_views(PredictConfig(shift_bands=(0, 31, -31)), LogMelConfig(n_mels=32), "band_median")
    with pytest.raises(ValueError, match=rf"predict\.shift_bands=\[0, {shift}\] moves .* out of its 32 mel bands"):
        check_views(PredictConfig(shift_bands=(0, shift)), LogMelConfig(n_mels=32), "band_median")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"stride_seconds": 2.75}, r"predict\.stride_seconds=2\.75 .* take 2\.5 or 3, or set .* to 0\.34375\."),
        ({"shift_seconds": (0.0, -1.25)}, r"predict\.shift_seconds=-1\.25 .* take -1\.5 or -1, .* to 0\.3125\."),
        ({"shift_seconds": (0.25,)}, r"predict\.shift_seconds=0\.25 .* every 0\.5 s: take 0\.5, or set .* to 0\.25\."),
    ],
)
def test_steps_between_two_embeddings_are_refused(
    embedding: EmbeddingConfig, setting: dict[str, Any], message: str
) -> None:
    check_views(PredictConfig(**setting), LogMelConfig(), "band_median")
    with pytest.raises(ValueError, match=message):
        check_views(PredictConfig(**setting), embedding, "channel")


@pytest.mark.parametrize(
    ("stride_seconds", "clip_seconds", "message"),
    [
        (3.0, 5.0, r"clip_seconds=5 .* Tiny gives an embedding every 3 s: take 3 or 6, or set .* to 2\.5\."),
        (3.0, 1.0, r"clip_seconds=1 .* take 3, or set stride_seconds of the features to 1\."),
        (1 / 3, 0.5, r"clip_seconds=0\.5 .* take 0\.333375 or 0\.66675, .* to 0\.25\."),
    ],
)
def test_crops_between_two_embeddings_are_refused_and_what_is_told_instead_passes(
    tiny_model: Path, stride_seconds: float, clip_seconds: float, message: str
) -> None:
    def check(clip: float, stride: float) -> None:
        settings = {"kind": "embedding", "model": str(tiny_model), "stride_seconds": stride}
        member = {"model": POOL, "augment": {"channel_dropout": 0.2}, "clip_seconds": clip}
        check_member(TrainConfig.model_validate(member), EmbeddingConfig.model_validate(settings))

    with pytest.raises(ValueError, match=message) as refused:
        check(clip_seconds, stride_seconds)
    told, finer = str(refused.value).split(": take ")[1].split(", or set stride_seconds of the features to ")
    for clip in told.split(" or "):
        check(float(clip), stride_seconds)
    check(clip_seconds, float(finer.rstrip(".")))


def test_augmentation_for_the_other_kind_is_refused(embedding: EmbeddingConfig) -> None:
    member = TrainConfig.model_validate({"model": POOL, "augment": AugmentConfig()})
    with pytest.raises(ValueError, match=r"another kind .* noise_share, noise_probability"):
        check_member(member, embedding)
