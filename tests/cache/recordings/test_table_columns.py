"""Names of columns go from the user's table to the cache and back."""

import pandas as pd
import pytest

from cache.recordings.table_columns import RESERVED_COLUMNS, further_columns, name_in_table, other_columns


@pytest.mark.parametrize("column", ["site", "table_site", "fold", "sound", "table_fold"])
def test_name_of_a_column_comes_back_from_the_cache(column: str) -> None:
    table = pd.DataFrame({"primary_label": ["a"], "filename": ["b.wav"], "secondary_labels": ["[]"], column: ["x"]})
    (renamed,) = other_columns(table)
    assert renamed not in RESERVED_COLUMNS
    if not column.startswith("table_"):
        assert name_in_table(renamed) == column


def test_further_columns_leave_out_what_the_cache_adds() -> None:
    columns = ["recording_id", "label", "recordist", "size", "version", "sha256", "table_fold", "site", "seconds"]
    assert further_columns(pd.DataFrame(columns=columns)) == ["fold", "site"]
