"""Buckets of the long tail by hand."""

import numpy as np

from birdclef.metrics.buckets import BUCKETS, in_bucket


def test_each_species_lies_in_the_bucket_of_its_recordings() -> None:
    counts = np.array([1, 9, 10, 99, 100, 5000])
    found = {name: in_bucket(counts, fewest, most).tolist() for name, fewest, most in BUCKETS}
    assert found == {
        "1-9": [True, True, False, False, False, False],
        "10-99": [False, False, True, True, False, False],
        "100+": [False, False, False, False, True, True],
    }


def test_species_without_a_recording_lies_in_no_bucket() -> None:
    assert not any(in_bucket(np.array([0]), fewest, most).any() for _, fewest, most in BUCKETS)
