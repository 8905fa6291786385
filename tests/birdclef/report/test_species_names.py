"""Names by hand."""

import pandas as pd

from birdclef.report.species_names import name_species


def test_name_is_the_common_one_else_the_scientific_one_else_the_code() -> None:
    table = pd.DataFrame(
        {
            "label": ["eurwre1", "x1", "x2", "grefly1", "grefly2"],
            "common_name": ["Eurasian Wren", " ", None, "Fly", "Fly"],
            "scientific_name": ["Troglodytes troglodytes", "Columba cauta", "", "A b", "A c"],
        }
    )
    assert name_species(table) == {
        "eurwre1": "Eurasian Wren",
        "x1": "Columba cauta",
        "x2": "x2",
        "grefly1": "Fly (grefly1)",
        "grefly2": "Fly (grefly2)",
    }
