"""Training views as a function of seed, epoch and step, read from a real store."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from birdclef.config.train import TrainConfig
from birdclef.model.normalisation import normalise
from birdclef.strips.fold import FoldData
from birdclef.strips.input_statistics import compute_statistics
from birdclef.strips.residency import ResidentStrips, load_strips
from birdclef.training.data import TrainingData, Views, derive_seed, load_validation
from cache.config.features import EmbeddingConfig
from cache.recordings.background_tables import Background
from cache.store.part_writer import PartWriter
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory

CPU = torch.device("cpu")
FRAMES = 16  # of a crop of one second
NAMES = ["a1", "a2", "a3", "b1", "b2", "c1"]
PLAIN = {
    f"{name}_probability": 0.0 for name in ("gain", "filter", "background", "noise", "stretch", "warp", "mask")
}  # crops as they are stored


def load(fold: FoldData, augment: dict[str, Any] | None = None, **settings: Any) -> TrainingData:
    defaults = {"clip_seconds": 1.0, "species_per_batch": 2, "recordings_per_species": 2}
    config = TrainConfig.model_validate({**defaults, **settings, "augment": augment or {}})
    return TrainingData(fold, config, CPU)


def places_of(view: NDArray[np.float32], strip: NDArray[np.float16]) -> list[int]:
    """Returns every first frame at which the strip, repeated without end, reads as the view, (n_mels, frames)."""
    repeated = np.concatenate([strip] * (2 + FRAMES // len(strip))).astype(np.float32)
    return [
        first
        for first in range(len(strip))
        if np.allclose(repeated[first : first + FRAMES].T, view, atol=2e-3)  # unstretched time is exact to 1e-5 frames
    ]


def alike(first: Views, second: Views) -> bool:
    return torch.equal(first.crops, second.crops)


def test_seed_of_integers_is_the_head_of_their_sha256() -> None:
    """First 16 hex digits that `printf '(1, 2, 3)' | sha256sum` prints, without the last bit."""
    assert derive_seed(1, 2, 3) == 0xDFD5726D86ED2C8B >> 1
    assert derive_seed(7) == 0x24A6ADE6D35F1E5E >> 1


def test_seeds_differ_and_fit_into_63_bits() -> None:
    seeds = {derive_seed(*parts) for parts in [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 0)]}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_views_without_augmentation_are_pieces_of_their_recordings(
    fold_data: FoldData, strips: dict[str, NDArray[np.float16]]
) -> None:
    views = load(fold_data, PLAIN, views=3).make_views(0, 0, torch.tensor([5, 0, 2, 4]))
    assert views.crops.shape == (12, 1, 8, FRAMES)
    assert views.crops.dtype == torch.float32
    assert sorted(views.recordings.tolist()) == [0, 0, 0, 2, 2, 2, 4, 4, 4, 5, 5, 5]
    for view, recording in zip(views.crops, views.recordings.tolist(), strict=True):
        strip = strips[NAMES[recording]]
        places = places_of(view[0].numpy(), strip)
        assert places
        assert len(strip) <= FRAMES or places[0] + FRAMES <= len(strip)


def test_views_are_in_an_order_of_their_own_in_every_step(fold_data: FoldData) -> None:
    data = load(fold_data, PLAIN, views=20)
    orders = {
        (epoch, step): data.make_views(epoch, step, torch.arange(6)).recordings for epoch in (0, 1) for step in (0, 1)
    }
    assert len({tuple(order.tolist()) for order in orders.values()}) == 4
    for order in orders.values():
        assert torch.bincount(order).tolist() == [20] * 6
        alike = (order[1:] == order[:-1]).float().mean()
        assert alike < 0.35  # side by side, 95 % of the neighbours are views of one recording; by chance 16 %
        assert all(len(chunk.unique()) == 6 for chunk in order.split(30))
    again = load(fold_data, PLAIN, views=20).make_views(1, 1, torch.arange(6))
    assert torch.equal(again.recordings, orders[1, 1])
    assert torch.equal(again.labels, torch.tensor(fold_data.train["label_index"].to_numpy())[again.recordings])


def test_views_of_a_recording_are_different_crops(fold_data: FoldData) -> None:
    log_mel = load(fold_data, PLAIN, views=4).make_views(0, 0, torch.tensor([5])).crops
    assert len(torch.unique(log_mel.flatten(1), dim=0)) > 1


def test_crops_of_a_long_recording_start_anywhere_and_never_wrap(
    fold_data: FoldData, strips: dict[str, NDArray[np.float16]]
) -> None:
    """A crop of 16 frames fits 31 - 16 + 1 = 16 times into a strip of 31."""
    log_mel = load(fold_data, PLAIN, views=5).make_views(0, 0, torch.full((60,), 4)).crops
    assert {places_of(view[0].numpy(), strips["b2"])[0] for view in log_mel} == set(range(16))


def test_labels_and_targets_are_those_of_the_recordings(fold_data: FoldData) -> None:
    views = load(fold_data, views=2).make_views(0, 0, torch.tensor([3, 0, 5]))
    label_of = {3: 1, 0: 0, 5: 2}
    assert sorted(views.recordings.tolist()) == [0, 0, 3, 3, 5, 5]
    assert views.labels.tolist() == [label_of[recording] for recording in views.recordings.tolist()]
    assert views.targets.tolist() == np.eye(3)[views.labels].tolist()
    assert views.targets.dtype == torch.float32


def test_views_are_a_function_of_seed_epoch_and_step(fold_data: FoldData) -> None:
    recordings = torch.tensor([0, 1, 3, 5])
    data = load(fold_data, seed=1)
    first = data.make_views(2, 3, recordings)
    data.make_views(0, 0, recordings)  # nothing that was drawn before matters
    torch.manual_seed(99)
    assert alike(data.make_views(2, 3, recordings), first)
    assert alike(load(fold_data, seed=1).make_views(2, 3, recordings), first)
    assert not alike(data.make_views(2, 4, recordings), first)
    assert not alike(data.make_views(3, 3, recordings), first)
    assert not alike(load(fold_data, seed=2).make_views(2, 3, recordings), first)


@pytest.mark.parametrize("name", ["gain", "filter", "background", "noise", "stretch", "warp", "mask"])
def test_each_augmentation_changes_views_by_itself(fold_data: FoldData, name: str) -> None:
    recordings = torch.arange(6)
    plain = load(fold_data, PLAIN).make_views(0, 0, recordings)
    changed = load(fold_data, {**PLAIN, f"{name}_probability": 1.0}).make_views(0, 0, recordings)
    assert (changed.crops - plain.crops).abs().max() > 0.1
    assert torch.equal(changed.targets, plain.targets)


def test_background_is_added_in_power_at_its_ratio(fold_data: FoldData) -> None:
    """A background 10 dB below a crop lifts its mean power by one tenth."""
    settings = {**PLAIN, "background_snr_db": (10.0, 10.0)}
    plain = load(fold_data, settings).make_views(0, 0, torch.arange(6)).crops.double().numpy()
    changed = load(fold_data, {**settings, "background_probability": 1.0}).make_views(0, 0, torch.arange(6))
    mixed = changed.crops.double().numpy()
    ratio = (10 ** (mixed / 10)).mean(axis=(1, 2, 3)) / (10 ** (plain / 10)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(ratio, 1.1, rtol=1e-4)


def find_backgrounds(views: NDArray[np.float32], known: dict[str, NDArray[np.float64]]) -> set[str]:
    """Returns the names of the backgrounds that views consist of, up to their level; each view must be one of them."""
    met = set()
    for view in views:
        spread = {name: float(np.ptp(view - crop)) for name, crop in known.items()}
        best = min(spread, key=lambda name: spread[name])
        assert spread[best] < 0.5
        met.add(best)
    return met


DROWNED = {**PLAIN, "background_probability": 1.0, "background_snr_db": (-60.0, -60.0)}  # only the background is heard


def test_background_is_the_pause_of_a_recording_repeated(
    fold_data: FoldData, strips: dict[str, NDArray[np.float16]]
) -> None:
    """Of 14 frames of pause 10 are 0.1 s away from song; a crop has 16."""
    views = load(fold_data, DROWNED, views=4).make_views(0, 0, torch.arange(6)).crops[:, 0].numpy()
    frames = [*range(12, 22), *range(12, 18)]
    pauses = {name: strips[name][frames].T.astype(np.float64) for name in ("a1", "b1", "c1")}
    assert find_backgrounds(views, pauses) == set(pauses)


@pytest.fixture
def with_noise(fold_data: FoldData) -> FoldData:
    """Returns the fold with two sounds of the user's own in its store, as long as a crop."""
    generator = np.random.default_rng(5)
    with PartWriter(fold_data.store, 8) as writer:
        for name in ("rain", "wind"):
            writer.add_strip(name, generator.normal(-30, 5, (FRAMES, 8)).astype(np.float32))
        writer.publish()
    return dataclasses.replace(fold_data, background=Background(("rain", "wind"), ()))


def read_noise(fold: FoldData) -> dict[str, NDArray[np.float64]]:
    return {name: StripStore(fold.store).read(name).T.astype(np.float64) for name in ("rain", "wind")}


def test_background_is_the_users_own_noise(with_noise: FoldData) -> None:
    data = load(with_noise, {**DROWNED, "background_folder_share": 1.0}, views=4)
    assert find_backgrounds(data.make_views(0, 0, torch.arange(6)).crops[:, 0].numpy(), read_noise(with_noise)) == {
        "rain",
        "wind",
    }


def test_noise_and_pauses_share_the_backgrounds(with_noise: FoldData, strips: dict[str, NDArray[np.float16]]) -> None:
    frames = [*range(12, 22), *range(12, 18)]
    pauses = {name: strips[name][frames].T.astype(np.float64) for name in ("a1", "b1", "c1")}
    views = load(with_noise, DROWNED, views=8).make_views(0, 0, torch.arange(6)).crops[:, 0].numpy()
    known = {**pauses, **read_noise(with_noise)}
    assert find_backgrounds(views, known) == set(known)


def test_noise_that_no_view_gets_is_not_loaded(with_noise: FoldData, fold_data: FoldData) -> None:
    unread = dataclasses.replace(with_noise, background=Background(("not in the store",), ()))
    settings = {**PLAIN, "background_probability": 1.0, "background_folder_share": 0.0}
    first, other = (load(fold, settings).make_views(0, 0, torch.arange(6)) for fold in (unread, fold_data))
    assert alike(first, other)


def test_views_of_embeddings_come_from_noisy_copies(fold_data: FoldData, tmp_path: Path, tiny_model: Path) -> None:
    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)})
    stores = []
    for number in range(3):  # the recordings, and two copies
        store = FeatureDirectory(tmp_path / str(number))
        with PartWriter(store, 4, score_columns=0) as writer:
            for row, name in enumerate(NAMES):
                writer.add_strip(f"sha-{name}", np.full((12, 4), 10 * row + number, np.float32))
            writer.publish()
        stores.append(store)
    background = Background(("rain",), tuple(stores[1:]))
    fold = dataclasses.replace(fold_data, features=features, store=stores[0], background=background)
    augment = {"noise_probability": 0.0, "channel_dropout": 0.0, "background_probability": 0.5}
    model = {"backbone": "mean_pool", "normalisation": "channel"}
    views = load(fold, augment, model=model, views=200).make_views(0, 0, torch.arange(6))
    copy = views.crops[:, 0, 0, 0] - 10 * views.recordings
    shares = [float((copy == number).float().mean()) for number in range(3)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.05)


def test_values_never_fall_below_the_floor_by_a_gain(fold_data: FoldData) -> None:
    settings = {**PLAIN, "gain_probability": 1.0, "gain_db": 90.0}
    views = load(fold_data, settings, views=4).make_views(0, 0, torch.arange(6))
    assert views.crops.min() == -100.0


def test_mixup_mixes_the_targets_and_keeps_the_labels(fold_data: FoldData) -> None:
    recordings = torch.tensor([0, 3, 5, 1])
    views = load(fold_data, {"mixup_alpha": 1.0}, objective={"kind": "ce"}).make_views(0, 0, recordings)
    label_of = {0: 0, 3: 1, 5: 2, 1: 0}
    assert views.labels.tolist() == [label_of[recording] for recording in views.recordings.tolist()]
    np.testing.assert_allclose(views.targets.sum(dim=1).numpy(), 1, atol=1e-6)
    assert ((views.targets > 0).sum(dim=1) == 2).any()


def test_making_views_leaves_the_strips(fold_data: FoldData, strips: dict[str, NDArray[np.float16]]) -> None:
    data = load(fold_data)
    before = data.strips.values.clone()
    for step in range(3):
        data.make_views(0, step, torch.arange(6))
    assert torch.equal(data.strips.values, before)
    for name, start, length in zip(NAMES, data.strips.starts.tolist(), data.strips.lengths.tolist(), strict=True):
        np.testing.assert_array_equal(data.strips.values[start : start + length].numpy(), strips[name])


def test_changing_views_leaves_the_strips(fold_data: FoldData) -> None:
    data = load(fold_data, PLAIN)
    before = data.strips.values.clone()
    data.make_views(0, 0, torch.arange(6)).crops.zero_()
    assert torch.equal(data.strips.values, before)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 2),  # six recordings in batches of 2 x 2
        ({"species_per_batch": 100, "recordings_per_species": 1}, 2),  # three species are all there are
        ({"recordings_per_species": 1}, 3),
        ({"species_per_batch": 3}, 1),
        ({"steps_per_epoch": 17}, 17),
    ],
    ids=str,
)
def test_epoch_is_one_pass_over_the_recordings_unless_configured(
    fold_data: FoldData, settings: dict[str, int], expected: int
) -> None:
    data = load(fold_data, **settings)
    assert data.steps_per_epoch == expected
    assert len(data.draw_batches(0)) == expected


def test_batches_are_indices_of_k_recordings_of_p_species(fold_data: FoldData) -> None:
    data = load(fold_data, steps_per_epoch=20)
    batches = data.draw_batches(3)
    assert batches.dtype == np.int64
    assert batches.shape == (20, 4)
    for recordings in batches:
        assert set(recordings.tolist()) <= set(range(6))
        assert np.unique(data.labels[recordings], return_counts=True)[1].tolist() == [2, 2]


def test_batches_are_a_function_of_seed_and_epoch(fold_data: FoldData) -> None:
    def drawn(epoch: int, seed: int = 0) -> list[list[int]]:
        batches: list[list[int]] = load(fold_data, steps_per_epoch=20, seed=seed).draw_batches(epoch).tolist()
        return batches

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1) != drawn(1, seed=1)


def test_training_data_knows_its_labels_classes_and_noise(fold_data: FoldData) -> None:
    data = load(fold_data)
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 2]
    assert data.classes == 3
    (bank,) = data.augmentation.backgrounds.sources
    assert bank.rows.tolist() == [0, 3, 5]  # the recordings with a pause


def test_statistics_are_mean_and_deviation_of_the_training_strips(
    fold_data: FoldData, strips: dict[str, NDArray[np.float16]]
) -> None:
    values = np.concatenate([strips[name] for name in NAMES]).astype(np.float64)
    assert load(fold_data).statistics == pytest.approx((values.mean(), values.std()), rel=1e-9)


def test_statistics_of_many_frames_are_those_of_all(store: Path) -> None:
    resident = load_strips(StripStore(FeatureDirectory(store)), ["sha-a1"], CPU, "auto")
    assert isinstance(resident, ResidentStrips)
    repeated = type(resident)(resident.values.repeat(1000, 1), resident.starts, resident.lengths)
    values = resident.values.double().numpy()
    assert compute_statistics(repeated) == pytest.approx((values.mean(), values.std()), rel=1e-9)


def test_validation_recordings_are_cut_into_windows_without_overlap(
    fold_data: FoldData, strips: dict[str, NDArray[np.float16]]
) -> None:
    validation = load_validation(fold_data, TrainConfig(clip_seconds=1.0), CPU)
    assert validation.frames == FRAMES
    assert validation.labels.tolist() == [0, 1, 2]
    rows, firsts = validation.windows
    assert rows.tolist() == [0, 0, 0, 0, 1, 2]  # 50, 16 and 5 frames
    assert firsts.tolist() == [0, 16, 32, 34, 0, 0]
    for row, name in enumerate(("a9", "b9", "c9")):
        taken = validation.strips.take(torch.tensor([row]), torch.arange(len(strips[name]))[None])
        np.testing.assert_array_equal(taken[0].numpy(), strips[name])


@pytest.mark.parametrize(("kept", "dropped", "dim"), [("frequency", "time", 3), ("time", "frequency", 2)])
def test_masks_cover_the_axis_they_are_named_after(fold_data: FoldData, kept: str, dropped: str, dim: int) -> None:
    masks = {"mask_probability": 1.0, f"{kept}_mask_share": 0.5, f"{dropped}_masks": 0}
    plain, masked = (
        load(fold_data, {**PLAIN, **augment}, views=4).make_views(0, 0, torch.arange(6)).crops
        for augment in ({}, masks)
    )
    changed = (masked - plain).abs() > 1e-3
    assert changed.any()
    along = changed.double().mean(dim=dim)  # a masked band is masked in all of its frames, and the reverse
    assert ((along == 0) | (along > 0.5)).all()  # a masked cell may have had its median already


@pytest.mark.parametrize("mixup_alpha", [0.0, 1.0])
def test_masked_frames_are_0_at_the_input_with_and_without_mixup(fold_data: FoldData, mixup_alpha: float) -> None:
    augment = {
        **PLAIN,
        "mask_probability": 1.0,
        "frequency_masks": 0,
        "time_mask_share": 0.9,
        "mixup_alpha": mixup_alpha,
    }
    crops = load(fold_data, augment, views=4, objective={"kind": "ce"}).make_views(0, 0, torch.arange(6)).crops
    seen = normalise(crops, "band_median", 0.0, 1.0)
    silent = (seen == 0).all(dim=2)[:, 0]  # (batch * views, frames)
    assert 0.2 < silent.double().mean() < 0.7


@pytest.mark.parametrize("residency", ["host", "stream"])
def test_views_do_not_depend_on_where_the_strips_are(fold_data: FoldData, residency: str) -> None:
    augment_all = {**{name: 1.0 for name in PLAIN if name.endswith("probability")}, "mixup_alpha": 0.0}
    resident = load(fold_data, augment_all)
    elsewhere = load(fold_data, augment_all, residency=residency)
    assert elsewhere.statistics == resident.statistics
    for epoch in (0, 1):
        for step, recordings in enumerate(torch.from_numpy(resident.draw_batches(epoch))):
            assert alike(elsewhere.make_views(epoch, step, recordings), resident.make_views(epoch, step, recordings))


def test_secondary_species_of_a_recording_are_marked_and_unknown_ones_left(fold_data: FoldData) -> None:
    assert load(fold_data).make_views(0, 0, torch.tensor([0, 3])).secondary is None
    train = fold_data.train.assign(secondary_labels=["bee cat", "", "dodo", "", "ant dodo", ""])
    data = load(dataclasses.replace(fold_data, train=train), views=2)
    views = data.make_views(0, 0, torch.tensor([4, 2, 0]))
    marks = {4: [1, 0, 0], 2: [0, 0, 0], 0: [0, 1, 1]}
    assert views.secondary is not None
    assert views.secondary.int().tolist() == [marks[recording] for recording in views.recordings.tolist()]


def test_mixed_crops_have_the_secondary_species_of_both(fold_data: FoldData) -> None:
    train = fold_data.train.assign(secondary_labels=["bee", "bee", "bee", "cat", "cat", "ant"])
    settings: dict[str, Any] = {"objective": {"kind": "joint", "contrast": "soft"}, "views": 1}
    data = load(dataclasses.replace(fold_data, train=train), {"mixup_alpha": 1.0}, **settings)
    views = data.make_views(0, 0, torch.arange(6))
    own = torch.tensor([[0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0]]).bool()
    assert views.secondary is not None
    mixed_with = torch.where(views.targets > 0, 1, 0)
    for row, mask, species in zip(views.recordings.tolist(), views.secondary, mixed_with, strict=True):
        partners = [other for other in range(6) if species[data.labels[other]] or other == row]
        assert any(torch.equal(mask, own[row] | own[other]) for other in partners)


def test_class_shares_follow_the_drawing(fold_data: FoldData) -> None:
    data = load(fold_data, species_per_batch=1, species_exponent=1.0)
    assert data.class_shares == pytest.approx([3 / 6, 2 / 6, 1 / 6], abs=0.02)
    assert load(fold_data, species_per_batch=3).class_shares == pytest.approx([1 / 3, 1 / 3, 1 / 3])
