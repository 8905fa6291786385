"""The pictures are looked at by people; here they are drawn for every kind of data set."""

import struct

import numpy as np
import pandas as pd
import pytest

from cache.plots.data_set import plot_catalogue, plot_split


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def recordings(count: int, recordist: str) -> pd.DataFrame:
    labels = [f"$species_{index % 3}^" for index in range(count)]  # would be mathematics to matplotlib
    return pd.DataFrame({"label": labels, "seconds": 12.0, "recordist": recordist})


@pytest.mark.parametrize("reasons", [[], ["empty", "$too_short^", "empty"]])
@pytest.mark.parametrize("recordist", ["", "anna"])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_any_catalogue_has_a_picture(count: int, recordist: str, reasons: list[str]) -> None:
    picture = plot_catalogue(recordings(count, recordist), pd.DataFrame({"reason": reasons}))
    assert size_of(picture) == (1290, 840)


@pytest.mark.parametrize("folds", [[0, 1], [-2, -1, 0, 1, 2]])
def test_any_split_has_a_picture(folds: list[int]) -> None:
    split = recordings(60, "anna").assign(fold=np.resize(folds, 60))
    assert size_of(plot_split(split, leaking(60))) == (1290, 780)


def leaking(recordist_known: int) -> dict[str, object]:
    leak = {"leak": {"leaking_share": 0.25}}
    return {**leak, "plain_stratified": leak, "overlap": {"recordings": 60, "recordist_known": recordist_known}}


def test_picture_of_a_split_tells_whether_recordists_are_known() -> None:
    split = recordings(60, "anna").assign(fold=np.arange(60) % 3)
    assert len({plot_split(split, leaking(known)) for known in (0, 30, 60)}) == 3


def test_picture_shows_the_counts() -> None:
    few, many = (plot_catalogue(recordings(count, "anna"), pd.DataFrame({"reason": []})) for count in (5, 50))
    assert few != many


def test_picture_counts_recordists_by_the_rule_of_the_folds() -> None:
    none, unknown, named = (
        plot_catalogue(recordings(5, recordist), pd.DataFrame({"reason": []})) for recordist in ("", "unknown", "anna")
    )
    assert none == unknown != named
