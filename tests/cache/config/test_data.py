"""What of a data set makes another catalogue."""

from cache.config.data import DataConfig


def test_place_and_tolerance_stay_out_of_the_identity_of_data() -> None:
    here = DataConfig(root="here")
    there = DataConfig(root="there", metadata="m.csv", audio="clips", max_quarantined_share=0.5)
    assert here.identity() == there.identity() == {"min_seconds": 0.5, "silence_db": -60.0}


def test_limits_change_the_identity_of_data() -> None:
    assert DataConfig(root="here", min_seconds=1.0).identity() != DataConfig(root="here").identity()
    assert DataConfig(root="here", silence_db=-50.0).identity() != DataConfig(root="here").identity()
