"""Draws batches of P species with K recordings each, so that an anchor has other recordings of its species."""

import numpy as np
from numpy.typing import NDArray

from birdclef.metrics.buckets import BUCKETS, in_bucket

_SIMULATED_BATCHES = 4096


def draw_batches(
    labels: NDArray[np.int64],
    species_per_batch: int,
    recordings_per_species: int,
    steps: int,
    species_exponent: float,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Returns the recordings of each batch of an epoch, (steps, P * K) int64.

    The P species of a batch are drawn without replacement, with a probability proportional to their number of
    recordings to the power of `species_exponent`. P is at most the number of species. The K recordings of a species are
    different if the species has K recordings. Otherwise they repeat, and each repetition gets a crop of its own.

    Args:
        labels: label_index of each recording, (recordings,).
        species_per_batch: P, the number of species in a batch.
        recordings_per_species: K, the number of recordings of each species.
        steps: Number of batches in the epoch.
        species_exponent: 0 draws all species equally often, 1 as often as they are recorded.
        generator: Source of randomness.
    """
    species, counts = np.unique(labels, return_counts=True)
    members = [np.flatnonzero(labels == label) for label in species]
    drawn = _draw_species(counts, species_per_batch, species_exponent, steps, generator)  # (steps, P)
    batches = np.empty((*drawn.shape, recordings_per_species), np.int64)
    for place, chosen in np.ndenumerate(drawn):
        batches[place] = np.resize(generator.permutation(members[chosen]), recordings_per_species)
    return batches.reshape(steps, -1)


def expected_shares(
    counts: NDArray[np.int64], species_per_batch: int, species_exponent: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Returns the approximate share of each species among the drawn recordings, (species,).

    It is counted in many simulated batches. A species is drawn at most once for a batch, so frequent species get less
    than their weight. No share is 0.

    Args:
        counts: Number of recordings of each species, at least 1, (species,).
        species_per_batch: P, the number of species in a batch.
        species_exponent: Exponent as in `draw_batches`.
        generator: Source of randomness.
    """
    drawn = _draw_species(counts, species_per_batch, species_exponent, _SIMULATED_BATCHES, generator)
    times = 1 + np.bincount(drawn.ravel(), minlength=len(counts))
    shares: NDArray[np.float64] = times / times.sum()
    return shares


def _draw_species(
    counts: NDArray[np.int64], species_per_batch: int, exponent: float, batches: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Returns the species of each batch, (batches, P), drawn without replacement.

    The P highest of the log weights plus Gumbel noise are such a draw.
    """
    perturbed = exponent * np.log(counts) + generator.gumbel(size=(batches, len(counts)))
    places = min(species_per_batch, len(counts))
    return np.argpartition(-perturbed, places - 1, axis=1)[:, :places]


def describe_batches(labels: NDArray[np.int64], batches: NDArray[np.int64], views: int) -> dict[str, float]:
    """Returns statistics of an epoch's batches for the contrastive loss, by metric name.

    `views` is the number of views that pass through the model. `orphan_rate` is the share of anchors that have no other
    recording of their species in the batch. `positives_NAME`, for each bucket of species that occurs, is the mean
    number of views of other recordings of the anchor's species in the batch.

    Args:
        labels: label_index of each recording, (recordings,).
        batches: Recordings of each batch, (steps, batch).
        views: Number of views of a recording in a batch.
    """
    counts = np.bincount(labels)
    positives: list[NDArray[np.int64]] = []
    for batch in batches:
        recordings, times = np.unique(batch, return_counts=True)
        species_times = np.bincount(labels[recordings], weights=times, minlength=len(counts)).astype(np.int64)
        own_times = times[np.searchsorted(recordings, batch)]
        positives.append(views * (species_times[labels[batch]] - own_times))
    met = np.concatenate(positives)
    anchors = labels[batches].ravel()
    described = {"views": float(batches.size * views), "orphan_rate": float((met == 0).mean())}
    for name, fewest, most in BUCKETS:
        inside = in_bucket(counts, fewest, most)[anchors]
        if inside.any():
            described[f"positives_{name}"] = float(met[inside].mean())
    return described
