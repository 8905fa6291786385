"""Tables of public archives, and which of their columns names the recordists."""

import pandas as pd
import pytest

from cache.recordings.recordist_column import advise_on_author, find_recordist_column


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["id", "gen", "sp", "rec", "cnt"], "rec"),  # xeno-canto
        (["scientificName", "recordedBy", "rightsHolder"], "recordedBy"),  # Darwin Core
        (["observed_on", "user_login", "license"], "user_login"),  # iNaturalist
        (["ML Catalog Number", "Recordist", "Common Name"], "Recordist"),  # Macaulay Library
        (["site", "collector", "date"], "collector"),
        (["owner", "Author"], "Author"),
        (["sound_recordist_id"], "sound_recordist_id"),
        (["recording_date", "site"], None),
    ],
)
def test_column_is_found_by_its_name(columns: list[str], expected: str | None) -> None:
    assert find_recordist_column(pd.DataFrame([["x"] * len(columns)], columns=columns)) == expected


def test_empty_column_is_not_named() -> None:
    assert find_recordist_column(pd.DataFrame({"recordist": ["", " "], "collector": ["", "anna"]})) == "collector"


def test_advice_names_the_column_as_the_user_wrote_it() -> None:
    table = pd.DataFrame({"recording_id": ["a"], "label": ["b"], "recordist": [""], "table_recordist": ["anna"]})
    assert advise_on_author(table) == "The column recordist seems to name them: rename it to author"
    assert advise_on_author(table.drop(columns="table_recordist")).startswith("Add a column author if you know")
    other = table.rename(columns={"table_recordist": "table_author"})  # no column of the cache, so the user's own name
    assert "The column table_author seems" in advise_on_author(other)
