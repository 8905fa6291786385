"""What the index tells of a part: its strips, and the audio that gave none."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cache.workspace.artefact import content_key


class DamagedPartError(ValueError):
    """A part whose array or fragment is not as it was written, or lacks bytes."""


@dataclass(frozen=True)
class Strip:
    """Where a strip lies, and how loud it is.

    Attributes:
        sha256: Hash of the audio file.
        part: Id of the part that holds it.
        start: First frame in the part.
        frames: Length.
        peak_db: Highest value of the log-mel.
        mean_db: Mean of the log-mel over frames and bands.
        digest: Of its stored bytes, so that damage and mix-ups are found.
        fingerprint: Of its sound, as text; empty if it is to be compared with none.
        seconds: Of the audio; None: as long as its frames.
    """

    sha256: str
    part: str
    start: int
    frames: int
    peak_db: float
    mean_db: float
    digest: str
    fingerprint: str
    seconds: float | None = None


@dataclass(frozen=True)
class Failure:
    """Audio that gave no strip, and why.

    Attributes:
        sha256: Hash of the audio file.
        reason: The word under which it is quarantined.
        detail: More on the reason.
        limit: The limit of time or memory that it overran, if that is the reason: with a higher one it is tried again.
        decoder: Version of the decoding that gave it; None: of an earlier release, which knew libsndfile alone.
    """

    sha256: str
    reason: str
    detail: str
    limit: float | None = None
    decoder: int | None = None

    def entry(self) -> dict[str, Any]:
        """Returns what a fragment says of it; what earlier releases wrote comes back as it was."""
        return {name: value for name, value in asdict(self).items() if name != "decoder" or value is not None}


@dataclass(frozen=True)
class Fragment:
    """What one part of the store holds.

    Attributes:
        strips: In the order of their rows.
        failures: Audio of the part that gave no strip.
    """

    strips: tuple[Strip, ...]
    failures: tuple[Failure, ...]

    @property
    def identity(self) -> str:
        """Id of the part."""
        return content_key([*(strip.sha256 for strip in self.strips), *(failure.entry() for failure in self.failures)])

    @classmethod
    def read(cls, path: Path) -> Self:
        """Returns the fragment in a file.

        Raises:
            DamagedPartError: If it is none.
        """
        try:
            fragment = json.loads(path.read_text())
            return cls(
                tuple(Strip(part=path.stem, **entry) for entry in fragment["strips"]),
                tuple(Failure(**entry) for entry in fragment["failures"]),
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DamagedPartError(
                f"{path} is not a readable index fragment ({error}). Run birdclef verify."
            ) from error

    def to_json(self) -> str:
        """Returns the content of the fragment's file, whose name is the part that its strips lie in."""
        strips = [{name: value for name, value in asdict(strip).items() if name != "part"} for strip in self.strips]
        return json.dumps({"strips": strips, "failures": [failure.entry() for failure in self.failures]})
