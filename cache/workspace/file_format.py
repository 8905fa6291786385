"""JSON files of artefacts state the number of their format, so that no version misreads what another one wrote."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class DamagedArtefactError(ValueError):
    """Files of an artefact are not what was published."""


class OtherFormatError(ValueError):
    """Another version of birdclef wrote a file; the message names the file and says what to do."""


@dataclass(frozen=True)
class FileFormat:
    """Format of a JSON file.

    Attributes:
        number: Number of the format that this version writes and reads.
        keys: Keys that every file of this format has. A file without a number, as older versions wrote, counts as of
            format 1 if it has them.
        remedy: What to do about a file of an older format.
    """

    number: int
    keys: frozenset[str]
    remedy: str

    def read(self, path: Path) -> dict[str, Any]:
        """Returns the content of a file.

        Raises:
            FileNotFoundError: If there is no such file.
            OtherFormatError: If another version wrote it.
            DamagedArtefactError: If it is no JSON object.
        """
        return self.parse(path.read_bytes(), path)

    def read_whole(self, path: Path) -> dict[str, Any]:
        """Returns the content of a file that has all keys of the format; errors as of `read`."""
        content = self.read(path)
        if missing := sorted(self.keys - content.keys()):
            raise DamagedArtefactError(f"{path} is damaged, because it lacks {', '.join(missing)}. {_BACKUP}")
        return content

    def parse(self, text: bytes, path: Path) -> dict[str, Any]:
        """Returns the content of a file from its bytes; errors as of `read`."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise DamagedArtefactError(f"{path} is damaged, because it is no JSON ({error}). {_BACKUP}") from error
        if not isinstance(content, dict):
            raise DamagedArtefactError(f"{path} is damaged, because it is no JSON object. {_BACKUP}")
        found = content.get("format", 1 if self.keys <= content.keys() else 0)
        if found == self.number:
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


_BACKUP = "Bring the folder back from a backup, or remove it and run the same settings again."
