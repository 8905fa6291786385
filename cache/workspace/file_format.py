"""JSON files of artefacts: the number of their format, and the types of the fields that are read.

No version misreads what another one wrote, and no other type than a field's own reaches the code that reads the field.
"""

import json
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from cache.workspace.urls import read_file


class DamagedArtefactError(ValueError):
    """Files of an artefact are not what was published."""


class MissingFieldError(DamagedArtefactError, KeyError):
    """A JSON object of an artefact lacks a field that is read; the message names the file."""

    __str__ = ValueError.__str__  # a KeyError shows its message in quotes


class OtherFormatError(ValueError):
    """Another version of birdclef wrote a file; the message names the file and says what to do."""


class _JsonObject(dict[str, Any]):
    """A JSON object that names its file if a field is read that it lacks."""

    def __init__(self, path: Path, fields: Iterable[tuple[str, Any]]) -> None:
        super().__init__(fields)
        self._path = path

    def __missing__(self, name: str) -> NoReturn:
        raise MissingFieldError(f"{self._path} is damaged, because it lacks {name}. {_BACKUP}")


@dataclass(frozen=True)
class FileFormat:
    """Format of a JSON file.

    Attributes:
        number: Number of the format that this version writes and reads.
        keys: Keys that every file of this format has. A file without a number, as older versions wrote, counts as of
            format 1 if it has them.
        remedy: What to do about a file of an older format.
        shape: `TypedDict` with the types of the fields that are read. Values must have them already: no text becomes a
            number. Other fields are not checked, and fields may be missing, as in files of older versions.
    """

    number: int
    keys: frozenset[str]
    remedy: str
    shape: Any = field(default=dict[str, Any])

    def read(self, path: Path) -> dict[str, Any]:
        """Returns the content of a file; to read a field that it lacks raises a DamagedArtefactError.

        Raises:
            FileNotFoundError: If there is no such file.
            OSError: As in `read_file`.
            OtherFormatError: If another version wrote it.
            DamagedArtefactError: If it is no JSON object, or a field has a wrong type; the message names the field.
        """
        return self.parse(read_file(path), path)

    def read_whole(self, path: Path) -> dict[str, Any]:
        """Returns the content of a file that has all keys of the format; errors as of `read`."""
        content = self.read(path)
        if missing := sorted(self.keys - content.keys()):
            raise DamagedArtefactError(f"{path} is damaged, because it lacks {', '.join(missing)}. {_BACKUP}")
        return content

    def parse(self, text: bytes, path: Path) -> dict[str, Any]:
        """Returns the content of a file from its bytes; errors as of `read`."""
        try:
            content = json.loads(text, object_pairs_hook=partial(_JsonObject, path), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise DamagedArtefactError(f"{path} is damaged, because it is no JSON ({error}). {_BACKUP}") from error
        if not isinstance(content, dict):
            raise DamagedArtefactError(f"{path} is damaged, because it is no JSON object. {_BACKUP}")
        found = content.get("format", 1 if self.keys <= content.keys() else 0)
        if found == self.number:
            self._check_shape(content, path)
            return content
        if isinstance(found, int) and found > self.number:
            raise OtherFormatError(
                f"A newer version of birdclef wrote {path}: it has format {found}, and this version reads format "
                f"{self.number}. Install the newer version."
            )
        raise self.refuse(path, f"it has format {found}, and this version reads format {self.number}")

    def refuse(self, path: Path, reason: str) -> OtherFormatError:
        """Returns the error on a file that an older version wrote, with the remedy."""
        return OtherFormatError(f"An older version of birdclef wrote {path}: {reason}. {self.remedy}")

    def _check_shape(self, content: dict[str, Any], path: Path) -> None:
        try:
            _adapter(self.shape).validate_python(content, strict=True)
        except ValidationError as error:
            raise damaged(path, error) from error


def damaged(path: Path, error: ValidationError) -> DamagedArtefactError:
    """Returns the error on a file with a wrong value; the message names the field of the first wrong value."""
    return DamagedArtefactError(f"{path} is damaged, because {describe_first(error)}. {_BACKUP}")


def describe_first(error: ValidationError) -> str:
    """Returns field, value and rule of the first wrong value, without a full stop at the end."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    rule = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{place}={reprlib.repr(first['input'])} is wrong: {rule}" if place else rule


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


_BACKUP = "Bring the folder back from a backup, or remove it and run the same settings again."
