"""P x K batches: P species, K recordings of each, so that an anchor has partner recordings."""

import numpy as np
from numpy.typing import NDArray

from birdclef.buckets import BUCKETS, in_bucket


def draw_batches(
    labels: NDArray[np.int64],
    species_per_batch: int,
    recordings_per_species: int,
    steps: int,
    species_exponent: float,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Returns the recordings of each batch of an epoch, (steps, P * K) int64.

    The P species of a batch are drawn without replacement, each with probability ∝ (its number of recordings) to
    `species_exponent`; P is at most the number of species. The K recordings of a species are all different as long
    as it has that many, and then repeat: another crop of the same recording.

    Args:
        labels: Species index of each recording, (recordings,).
        species_per_batch: P.
        recordings_per_species: K.
        steps: Batches in the epoch.
        species_exponent: 0 draws all species alike, 1 as often as they are recorded.
        generator: Source of randomness.
    """
    species, counts = np.unique(labels, return_counts=True)
    members = [np.flatnonzero(labels == label) for label in species]
    drawn_species = min(species_per_batch, len(species))
    log_weight = species_exponent * np.log(counts)
    batches = np.empty((steps, drawn_species, recordings_per_species), np.int64)
    for step in range(steps):
        gumbel = log_weight + generator.gumbel(size=len(species))  # top-P of perturbed weights: no replacement
        for place, chosen in enumerate(np.argpartition(-gumbel, drawn_species - 1)[:drawn_species]):
            recordings = generator.permutation(members[chosen])
            batches[step, place] = np.resize(recordings, recordings_per_species)
    return batches.reshape(steps, -1)


def describe_batches(labels: NDArray[np.int64], batches: NDArray[np.int64], views: int) -> dict[str, float]:
    """Returns what the contrastive loss is fed with in an epoch.

    `orphan_rate` is the share of anchors that have no other recording of their species in the batch. `positives_NAME`,
    for each bucket of species that occurs, is the mean number of views of other recordings of its species that an
    anchor meets.

    Args:
        labels: Species index of each recording, (recordings,).
        batches: Recordings of each batch, (steps, batch).
        views: Views of a recording in a batch.
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
    described = {"orphan_rate": float((met == 0).mean())}
    for name, fewest, most in BUCKETS:
        inside = in_bucket(counts, fewest, most)[anchors]
        if inside.any():
            described[f"positives_{name}"] = float(met[inside].mean())
    return described
