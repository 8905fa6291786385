"""Keys: short hashes that name artefacts. The key of an artefact is a hash of its recipe.

If the artefact of a recipe exists, it is the recipe's result. So no result is computed twice, and a changed setting
never gets an old result.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KINDS = (
    "features",
    "catalogues",
    "backgrounds",
    "splits",
    "runs",
    "predictions",
    "reports",
    "held_out",
    "sweeps",
    "comparisons",
)


@dataclass(frozen=True)
class Recipe:
    """Everything that defines an artefact.

    Attributes:
        kind: One of `KINDS`.
        config: Fields of the configuration section that define the result, as JSON values.
        inputs: Key or content hash of each input, by name.
        version: Version of the computation; raised by hand when the same inputs give another result.
    """

    kind: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    version: int

    @property
    def key(self) -> str:
        """First 16 hex digits of the recipe's hash."""
        return content_key(asdict(self))


def content_key(value: Any) -> str:
    """Returns 16 hex digits of the sha256 of a value's canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def file_key(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hex."""
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
