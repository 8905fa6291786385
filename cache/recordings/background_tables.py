"""Reads a background: the user's own noise, and the noisy copies of the recordings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cache.recordings.catalogue_tables import feature_directory, read_catalogue
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace


@dataclass(frozen=True)
class Background:
    """Noise that training mixes with the recordings.

    Attributes:
        sha256s: sha256 of each file of noise, in order; the feature directory of the recordings holds their strips.
        copies: Feature directories of noisy copies of the recordings; none for log-mel.
    """

    sha256s: tuple[str, ...]
    copies: tuple[FeatureDirectory, ...]

    @classmethod
    def read(cls, directory: Path, workspace: Workspace) -> Self:
        """Returns the background in a directory that `build_background` wrote."""
        inputs = read_provenance(directory)["inputs"]
        catalogues = [workspace.artefact("catalogues", key) for name, key in inputs.items() if name.startswith("copy_")]
        copies = tuple(feature_directory(catalogue, workspace) for catalogue in catalogues)
        return cls(tuple(sorted(read_catalogue(directory)["sha256"])), copies)
