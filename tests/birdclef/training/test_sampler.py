"""P x K batches: their composition, and how often a species is drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from birdclef.training.sampler import describe_batches, draw_batches, expected_shares

LABELS = np.array([0] * 5 + [1] * 3 + [3] * 2 + [7] * 1, np.int64)


def draw(p: int, k: int, steps: int, exponent: float = 0.5, seed: int = 0) -> NDArray[np.int64]:
    return draw_batches(LABELS, p, k, steps, exponent, np.random.default_rng(seed))


def test_batch_holds_k_recordings_of_p_species() -> None:
    batches = draw(3, 2, 200)
    assert batches.shape == (200, 6)
    assert batches.dtype == np.int64
    for batch in LABELS[batches]:
        _, counts = np.unique(batch, return_counts=True)
        assert counts.tolist() == [2, 2, 2]


def test_recordings_of_a_species_are_different_as_long_as_it_has_enough() -> None:
    for batch in draw(4, 3, 200):
        for species, available in ((0, 5), (1, 3), (3, 2), (7, 1)):
            chosen = batch[LABELS[batch] == species]
            assert len(chosen) == 3
            assert len(set(chosen)) == min(3, available)


def test_rare_species_repeats_its_recordings_evenly() -> None:
    for batch in draw(4, 6, 50):
        assert np.unique(batch[LABELS[batch] == 1], return_counts=True)[1].tolist() == [2, 2, 2]
        assert batch[LABELS[batch] == 7].tolist() == [10] * 6


def test_p_is_at_most_the_number_of_species() -> None:
    assert draw(100, 2, 5).shape == (5, 4 * 2)


def test_every_recording_of_a_species_is_drawn_alike() -> None:
    batches = draw(4, 1, 4000)
    counts = np.bincount(batches[LABELS[batches] == 0], minlength=5)
    assert counts.sum() == 4000
    assert stats.chisquare(counts[:5]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("exponent", "weights"),
    [(0.0, [1, 1, 1, 1]), (0.5, [5**0.5, 3**0.5, 2**0.5, 1]), (1.0, [5, 3, 2, 1])],
    ids=["alike", "square root", "as recorded"],
)
def test_species_is_drawn_in_proportion_to_its_weight(exponent: float, weights: list[float]) -> None:
    steps = 5000
    drawn = LABELS[draw(1, 1, steps, exponent)].ravel()
    observed = [int((drawn == species).sum()) for species in (0, 1, 3, 7)]
    assert stats.chisquare(observed, steps * np.array(weights) / sum(weights)).pvalue > 1e-3


def test_second_species_is_drawn_from_the_rest() -> None:
    """P(7 among two of four, weights 5, 3, 2, 1) sums over the species drawn first: w/11 * 1/(11 - w)."""
    chance = 1 / 11 + sum(w / 11 * 1 / (11 - w) for w in (5, 3, 2))
    steps = 5000
    drawn = (LABELS[draw(2, 1, steps, 1.0)] == 7).any(axis=1).sum()
    assert stats.binomtest(int(drawn), steps, chance).pvalue > 1e-3


def test_batches_follow_their_generator() -> None:
    np.testing.assert_array_equal(draw(2, 2, 20), draw(2, 2, 20))
    assert not np.array_equal(draw(2, 2, 20), draw(2, 2, 20, seed=1))


@given(
    data=st.data(),
    species=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    views=st.integers(1, 3),
)
def test_what_an_anchor_meets_is_counted_as_a_double_loop_does(
    data: st.DataObject, species: list[int], views: int
) -> None:
    place = st.integers(0, len(species) - 1)
    steps, size = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 10))
    batches = [data.draw(st.lists(place, min_size=size, max_size=size)) for _ in range(steps)]
    met = []
    for batch in batches:
        for anchor in batch:
            partners = [other for other in batch if other != anchor and species[other] == species[anchor]]
            met.append((species[anchor], views * len(partners)))
    described = describe_batches(np.array(species), np.array(batches), views)
    assert described["orphan_rate"] == pytest.approx(np.mean([count == 0 for _, count in met]))
    rare = [count for label, count in met if species.count(label) <= 9]
    if rare:
        assert described["positives_1-9"] == pytest.approx(np.mean(rare))
    assert ("positives_10-99" in described) == (len(rare) < len(met))
    assert "positives_100+" not in described


def test_another_view_of_the_same_recording_leaves_an_orphan() -> None:
    described = describe_batches(np.array([0, 1, 1]), np.array([[0, 0, 1, 2]]), views=2)
    assert described == {"views": 8.0, "orphan_rate": 0.5, "positives_1-9": 1.0}


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("places", [1, 2, 3, 5])
def test_expected_shares_are_about_those_of_many_batches(places: int, exponent: float) -> None:
    counts = np.array([400, 40, 20, 10, 1])
    drawn = np.repeat(np.arange(5), counts)[
        draw_batches(np.repeat(np.arange(5), counts), places, 1, 6000, exponent, np.random.default_rng(1))
    ]
    observed = np.bincount(drawn.ravel(), minlength=5) / drawn.size
    expected = expected_shares(counts, places, exponent, np.random.default_rng(2))
    assert expected.sum() == pytest.approx(1)
    assert np.abs(expected - observed).max() < 0.02


def test_expected_shares_of_single_places_are_the_weights_and_never_zero() -> None:
    shares = expected_shares(np.array([100_000_000, 9, 1]), 1, 0.5, np.random.default_rng(0))
    assert shares == pytest.approx([1e4 / 10_004, 3 / 10_004, 1 / 10_004], abs=1e-3)
    assert (shares > 0).all()
