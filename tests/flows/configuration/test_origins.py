"""Effective values as YAML with their origins."""

import pytest
import yaml

from flows.configuration.origins import show_origins


def test_origins_stand_in_one_column_behind_the_values() -> None:
    effective = {"data": {"root": "d", "audio": "train_audio"}, "seed": 1}
    assert show_origins(effective, {"data": {"root": "d"}, "seed": 1}, [("seed",)], "my.yaml") == (
        "data:\n  root: d             # my.yaml\n  audio: train_audio  # default\nseed: 1               # override\n"
    )


def test_values_that_a_file_of_another_name_holds_have_this_name_as_origin() -> None:
    shown = show_origins({"model": {"channels": 1024}}, {"model": "birdnet_v2.4"}, [], "my.yaml")
    assert shown == "model:\n  channels: 1024  # birdnet_v2.4\n"


@pytest.mark.parametrize(
    "value",
    ["two\nlines", "a # sign", "null", "1e-5", "x: y", "", "ä" * 200, 1e-5, None, [], [-1.25, "a, b"], {}, True],
    ids=str,
)
def test_whatever_a_value_is_it_stays_valid_yaml(value: object) -> None:
    shown = show_origins({"section": {"key": value}, "next": 1}, {}, [], "my.yaml")
    assert yaml.safe_load(shown) == {"section": {"key": value}, "next": 1}
    assert shown.count("# default") == 2
