"""Index fragments: the strips of a part, and the audio that gave no strip."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cache.workspace.keys import content_key


class DamagedPartError(ValueError):
    """The array or fragment of a part differs from what was written, or bytes are missing."""


@dataclass(frozen=True)
class Strip:
    """The place of a strip in the store, and its level.

    Attributes:
        sha256: sha256 of the audio file.
        part: Id of the part that holds the strip.
        start: First row of the strip in the part.
        frames: Number of rows.
        peak_db: Highest value of the log-mel, dB.
        mean_db: Mean of the log-mel over frames and bands, dB.
        digest: Digest of the stored bytes, which reveals damaged and exchanged strips.
        fingerprint: Fingerprint of the sound, as text; empty if the strip must not be compared with others.
        seconds: Duration of the audio; None: the frames give the duration.
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
        sha256: sha256 of the audio file.
        reason: Word for the reason, as in the quarantine.
        detail: Details of the reason.
        limit: Limit of time (s) or memory (GB) that the recording exceeded; a build with a higher limit tries again.
            None: the reason is no limit.
        decoder: Version of the decoding; None: an earlier release, which decoded by libsndfile only.
    """

    sha256: str
    reason: str
    detail: str
    limit: float | None = None
    decoder: int | None = None

    def entry(self) -> dict[str, Any]:
        """Returns the fields that a fragment stores; entries of earlier releases stay without `decoder`."""
        return {name: value for name, value in asdict(self).items() if name != "decoder" or value is not None}


@dataclass(frozen=True)
class Fragment:
    """The content of one part of the store.

    Attributes:
        strips: Strips in the order of their rows.
        failures: Audio of the part that gave no strip.
    """

    strips: tuple[Strip, ...]
    failures: tuple[Failure, ...]

    @property
    def identity(self) -> str:
        """Id of the part: a hash of the audio of its strips and of its failures."""
        return content_key([*(strip.sha256 for strip in self.strips), *(failure.entry() for failure in self.failures)])

    @classmethod
    def read(cls, path: Path) -> Self:
        """Returns the fragment in a file.

        Raises:
            DamagedPartError: If the file is missing or is not an index fragment.
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
        """Returns the content of the fragment's file; the name of the file is the id of the part."""
        strips = [{name: value for name, value in asdict(strip).items() if name != "part"} for strip in self.strips]
        return json.dumps({"strips": strips, "failures": [failure.entry() for failure in self.failures]})
