import math

import numpy as np

from birdclef.scores.json_values import replace_nan


def test_replace_nan_reaches_into_lists_and_dicts_and_keeps_the_rest() -> None:
    value = {"a": [1.5, math.nan, {"b": math.inf, "c": "nan", "d": None}], "e": 3, "f": -math.inf, "g": np.float64(2)}
    replaced = {"a": [1.5, None, {"b": None, "c": "nan", "d": None}], "e": 3, "f": None, "g": 2.0}
    assert replace_nan(value) == replaced
    assert math.isnan(value["a"][1])  # the input is as it was
