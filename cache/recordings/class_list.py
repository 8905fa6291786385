"""Finds species that a competition asks for although the table has no recording of them."""

import io
from collections.abc import Collection

import pandas as pd

from cache.config.data import DataConfig
from cache.recordings.csv_table import read_header
from cache.workspace.urls import read_named, resolve_address

_ROW_ID = "row_id"
_LABEL = "primary_label"
_SUBMISSION = "sample_submission.csv"
_TAXONOMY = "taxonomy.csv"


def find_species_without_recordings(config: DataConfig, species: Collection[str]) -> list[str]:
    """Returns the classes of `sample_submission.csv`, else of `taxonomy.csv`, that are no species with recordings.

    The files lie beside the table. A file that names none of the species is of another data set and left out.

    Args:
        config: Data set.
        species: Labels of the species with recordings.
    """
    for classes in (_read_submission(config), _read_taxonomy(config)):
        if not classes.isdisjoint(species):
            return sorted(classes.difference(species))
    return []


def _read_submission(config: DataConfig) -> set[str]:
    """Returns the columns of the example of a submission but the first, which names the row."""
    columns = read_header(_read(_address(config, _SUBMISSION)))
    return set(columns[1:]) if columns[:1] == [_ROW_ID] else set()


def _read_taxonomy(config: DataConfig) -> set[str]:
    content = _read(_address(config, _TAXONOMY))
    if _LABEL not in read_header(content):
        return set()
    labels = pd.read_csv(
        io.BytesIO(content), usecols=[_LABEL], dtype=str, keep_default_na=False, encoding_errors="replace"
    )[_LABEL]
    return set(labels[labels.str.strip() != ""])


def class_list_addresses(config: DataConfig) -> list[str]:
    """Returns the paths or URLs at which a data set may have lists of classes."""
    return [_address(config, name) for name in (_SUBMISSION, _TAXONOMY)]


def _address(config: DataConfig, name: str) -> str:
    """Returns the path or URL of a file beside the table."""
    return "/".join([resolve_address(config.root), *config.metadata.split("/")[:-1], name])


def _read(address: str) -> bytes:
    """Returns the content of a file; nothing if there is no such file."""
    try:
        return read_named(address)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return b""
