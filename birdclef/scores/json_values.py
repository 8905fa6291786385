"""Values that JSON can hold: it has no NaN."""

import math
from typing import Any


def replace_nan(value: Any) -> Any:
    """Returns a JSON value in which NaN and infinite numbers are replaced by null."""
    if isinstance(value, dict):
        return {key: replace_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
