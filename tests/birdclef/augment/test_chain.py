"""Both kinds behind one interface, and what reaches the model: through its own normalisation, for each preset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from birdnet_installation import can_load
from numpy.typing import NDArray
from torch import Tensor

from birdclef.augment.chain import Augmentation, EmbeddingAugmentation, LogMelAugmentation, build_augmentation
from birdclef.augment.masks import draw_cover
from birdclef.config.augment import EmbeddingAugmentConfig
from birdclef.config.model import Normalisation
from birdclef.config.train import TrainConfig
from birdclef.model.normalisation import normalise
from birdclef.strips.input_statistics import input_statistics
from birdclef.strips.residency import ResidentStrips
from cache.config.features import EmbeddingConfig, LogMelConfig
from flows.experiment import load_config

CPU = torch.device("cpu")
CONFIGS = Path(__file__).resolve().parents[3] / "configs"
FEATURES = LogMelConfig(sample_rate=16_000, n_fft=1024, hop_length=256, n_mels=24, fmax=8_000.0)
FRAMES = 62  # of a crop of one second
NOTHING = {f"{name}_probability": 0.0 for name in ("gain", "filter", "background", "noise", "stretch", "warp", "mask")}

LayOut = Callable[..., ResidentStrips]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coloured_strips(lay_out: LayOut, features: LogMelConfig = FEATURES) -> ResidentStrips:
    """Returns strips whose bands differ in level, as those of a microphone do; songs rise above them, up to a pause."""
    generator = np.random.default_rng(0)
    strips = []
    for frames in (200, 90):
        colour = generator.uniform(-70, -40, features.n_mels)
        song = 30.0 * (generator.random((frames, features.n_mels)) < 0.1)
        song[140:] = 0.0  # the quiet passage that serves as background
        strips.append((colour + song + generator.normal(0, 3, (frames, features.n_mels))).astype(np.float16))
    return lay_out(strips)


def build(config: TrainConfig, strips: ResidentStrips, features: Any = FEATURES) -> Augmentation:
    return build_augmentation(config, features, strips, input_statistics(strips, config.model.normalisation)[0], CPU)


def crops_of(strips: ResidentStrips, augmentation: Augmentation, batch: int = 64) -> Tensor:
    """Returns crops from the start of each strip in turn, along the drawn time map, (batch, 1, channels, frames)."""
    positions = augmentation.draw_time_map(batch, seeded(5)).round().long().clamp(min=0)
    return strips.take(torch.arange(batch) % 2, positions).transpose(1, 2).unsqueeze(1).float()


def received(crops: Tensor, config: TrainConfig, strips: ResidentStrips) -> NDArray[np.float32]:
    """Returns what the model receives, (batch, channels, frames)."""
    kind = config.model.normalisation
    return np.asarray(normalise(crops, kind, *input_statistics(strips, kind))[:, 0].numpy())


@pytest.fixture(params=["log_mel", "embedding"])
def augmentation(request: pytest.FixtureRequest, lay_out: LayOut, tiny_model: Path) -> Augmentation:
    generator = np.random.default_rng(0)
    strips = lay_out([generator.normal(-50, 9, (frames, 4)).astype(np.float16) for frames in (20, 9)])
    if request.param == "log_mel":
        features = LogMelConfig(n_mels=4)
        built = build(TrainConfig(clip_seconds=6 / features.frames_per_second), strips, features)
        assert isinstance(built, LogMelAugmentation)
        return built
    embedding = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)})
    settings = {
        "model": {"backbone": "mean_pool", "normalisation": "channel"},
        "augment": {"noise_share": 0.2},
        "clip_seconds": 6 / embedding.frames_per_second,
    }
    built = build(TrainConfig.model_validate(settings), strips, embedding)
    assert isinstance(built, EmbeddingAugmentation)
    return built


def test_same_generator_gives_the_same_views_and_another_one_others(augmentation: Augmentation) -> None:
    def make(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        positions = augmentation.draw_time_map(8, generator)
        assert positions.shape == (8, 6)
        others = augmentation.gather_others(8, generator)
        assert all(other.shape == (8, 1, 4, 6) for other in others)
        crops = torch.full((8, 1, 4, 6), -40.0)
        augmented = augmentation.augment(crops, *others, generator=generator)
        masked = augmentation.mask(augmented, generator)
        assert torch.equal(crops, torch.full((8, 1, 4, 6), -40.0))
        assert masked.shape == augmented.shape == crops.shape
        return masked

    assert torch.equal(make(0), make(0))
    assert not torch.equal(make(0), make(1))


def test_windows_of_embeddings_are_not_stretched() -> None:
    settings = EmbeddingAugmentConfig(noise_share=0.1)
    augmentation = EmbeddingAugmentation(settings, 4, torch.zeros(2, 1), torch.ones(2, 1))
    assert augmentation.draw_time_map(2, torch.Generator()).tolist() == [[0, 1, 2, 3]] * 2
    assert augmentation.gather_others(2, torch.Generator()) == ()


def masking(normalisation: Normalisation, **augment: float) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "model": {"normalisation": normalisation},
            "augment": {**NOTHING, "mask_probability": 1.0, **augment},
            "clip_seconds": 1.0,
        }
    )


@pytest.mark.parametrize("normalisation", ["dataset", "channel", "band_median"])
def test_masked_cells_are_0_at_the_input_and_all_others_as_without_a_mask(
    lay_out: LayOut, normalisation: Normalisation
) -> None:
    strips, config = coloured_strips(lay_out), masking(normalisation)
    augmentation = build(config, strips)
    crops = crops_of(strips, augmentation)
    without, seen = (received(each, config, strips) for each in (crops, augmentation.mask(crops, seeded())))
    generator = seeded()  # draws the same masks
    bands = draw_cover(64, 24, 0.1, 2, 1.0, generator).numpy()
    times = draw_cover(64, FRAMES, 0.2, 2, 1.0, generator).numpy()
    hidden = bands[:, :, None] | times[:, None, :]
    assert 0.05 < hidden.mean() < 0.25
    assert (seen[hidden] == 0).all()
    np.testing.assert_array_equal(seen[~hidden], without[~hidden])


def test_masked_frames_do_not_show_the_recorders_colour(lay_out: LayOut) -> None:
    """Frames filled with one level for all bands would be minus the bands' medians at the input."""
    strips, config = coloured_strips(lay_out), masking("band_median", frequency_masks=0, time_mask_share=0.5)
    augmentation = build(config, strips)
    crops = crops_of(strips, augmentation)
    assert np.ptp(crops.median(dim=3).values.numpy()) > 20
    seen = received(augmentation.mask(crops, seeded()), config, strips)
    times = draw_cover(64, FRAMES, 0.5, 2, 1.0, seeded()).numpy()  # the same masks
    energy = np.square(seen).sum(axis=1)  # (batch, frames)
    assert times.mean() > 0.1
    assert energy[times].sum() == 0
    assert energy[~times].min() > 0


def test_masks_of_a_mixture_are_0_at_the_input(lay_out: LayOut) -> None:
    """Masks come after mixup, so the partner does not show through them."""
    strips, config = coloured_strips(lay_out), masking("band_median")
    augmentation = build(config, strips)
    crops = crops_of(strips, augmentation)
    mixed = augmentation.mix(crops, torch.full((64, 1, 1, 1), 0.5), torch.arange(64).roll(1))
    seen = received(augmentation.mask(mixed, seeded()), config, strips)
    assert (np.square(seen).sum(axis=1) == 0).any()


def test_gain_is_invisible_under_the_band_median_and_the_filter_is_not(lay_out: LayOut) -> None:
    strips = coloured_strips(lay_out)
    changes = {}
    for name in ("gain", "filter"):
        config = masking("band_median", mask_probability=0.0, **{f"{name}_probability": 1.0})
        augmentation = build(config, strips)
        crops = crops_of(strips, augmentation)
        augmented = augmentation.augment(crops, *augmentation.gather_others(64, seeded()), generator=seeded())
        changes[name] = np.abs(received(augmented, config, strips) - received(crops, config, strips)).max(axis=(1, 2))
    assert changes["gain"].max() < 1e-4
    assert np.median(changes["filter"]) > 0.2  # 2 dB
    assert changes["filter"].max() < 0.75


def test_added_noise_spreads_and_lasts_as_real_noise_does(lay_out: LayOut) -> None:
    """Noise 60 dB above the crop drowns it, and is held to white noise that librosa turns into log-mel. Independent
    exponential cells would spread by 5.6 dB in each band, and neighbouring frames would not be alike.
    """
    strips = coloured_strips(lay_out)
    settings = {**NOTHING, "noise_probability": 1.0, "noise_snr_db": (-60.0, -60.0)}
    augmentation = build(TrainConfig.model_validate({"augment": settings, "clip_seconds": 1.0}), strips)
    crops = torch.full((300, 1, 24, FRAMES), -50.0)
    added = augmentation.augment(crops, crops, generator=seeded())[:, 0].double().numpy()
    mel = librosa.feature.melspectrogram(
        y=np.random.default_rng(3).normal(size=320_000), sr=16_000, n_fft=1024, hop_length=256, n_mels=24, fmin=20
    )
    whole = mel[:, 4 : 4 + FRAMES * 19].reshape(24, 19, FRAMES).transpose(1, 0, 2)  # (crops, n_mels, frames)
    ours, reference = (each - each.mean(axis=2, keepdims=True) for each in (added, 10 * np.log10(whole)))
    spreads = [np.sqrt(np.square(each).mean(axis=(0, 2))) for each in (ours, reference)]
    np.testing.assert_allclose(*spreads, atol=0.2)
    for lag in (1, 2, 3):
        likeness = [(each[..., lag:] * each[..., :-lag]).mean() / np.square(each).mean() for each in (ours, reference)]
        assert likeness[0] == pytest.approx(likeness[1], abs=0.04)


def log_mel_members() -> list[Any]:
    """Returns every member on log-mel of every preset with its features; of presets on BirdNET if it is installed."""
    members = []
    for path in sorted(CONFIGS.glob("*.yaml")):
        if not can_load(path):
            continue
        experiment = load_config(path)
        for name, member in experiment.train.items():
            if experiment.features_of(name).kind == "log_mel":
                members.append(pytest.param(member, experiment.features_of(name), id=f"{path.stem}-{name}"))
    return members


@pytest.mark.parametrize(("member", "features"), log_mel_members())
def test_each_augmentation_of_each_preset_changes_the_input(
    lay_out: LayOut, member: TrainConfig, features: LogMelConfig
) -> None:
    strips = coloured_strips(lay_out, features)
    own = member.augment.model_dump()
    used = [name for name, nothing in NOTHING.items() if own[name] > nothing]
    assert {f"{name}_probability" for name in ("background", "noise", "mask")} <= set(used)
    assert {"gain_probability", "filter_probability"} & set(used)

    def see(**augment: float) -> NDArray[np.float32]:
        settings = type(member.augment).model_validate({**own, **NOTHING, **augment})
        config = member.model_copy(update={"augment": settings, "clip_seconds": 1.0})
        augmentation = build(config, strips, features)
        crops = crops_of(strips, augmentation, 16)
        augmented = augmentation.augment(crops, *augmentation.gather_others(16, seeded()), generator=seeded())
        return received(augmentation.mask(augmented, seeded()), config, strips)

    plain = see()
    for name in used:
        assert np.abs(see(**{name: 1.0}) - plain).max() > 0.05, name


def test_each_augmentation_of_the_presets_on_embeddings_changes_the_input(lay_out: LayOut, tiny_model: Path) -> None:
    """Dropped channels are 0 at the input, and the others keep their mean there."""
    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)})
    generator = np.random.default_rng(0)
    strips = lay_out([generator.normal(3, 1, (frames, 40)).astype(np.float16) for frames in (20, 9)])
    settings = {"model": {"backbone": "mean_pool", "normalisation": "channel"}, "augment": {"channel_dropout": 0.25}}
    config = TrainConfig.model_validate({**settings, "clip_seconds": 2 / features.frames_per_second})
    augmentation = build(config, strips, features)
    crops = crops_of(strips, augmentation, 200)
    before, after = (received(each, config, strips) for each in (crops, augmentation.mask(crops, seeded())))
    dropped = np.abs(after).max(axis=2) < 1e-6
    assert abs(dropped.mean() - 0.25) < 0.02
    np.testing.assert_allclose(after[~dropped], before[~dropped] / 0.75, atol=1e-4)
    noisy = augmentation.augment(crops, generator=seeded())
    assert np.abs(received(noisy, config, strips) - before).max() > 0.1
