"""Finds the file that a row of the table means, if the table writes its name in another way than the audio folder."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cache.recordings.audio_files import is_audio_name, is_hidden, is_text
from cache.workspace.urls import is_url

_HINTS = 2
"""Largest number of files that a hint names."""


@dataclass(frozen=True)
class Reading:
    """How the name of a file in the table was read.

    Attributes:
        name: Name as the table has it.
        file: Path of the file below the audio folder.
        differences: What the table writes in another way, such as `with a backslash for /`.
    """

    name: str
    file: str
    differences: tuple[str, ...] = ()


def match_names(
    names: Sequence[str], labels: Sequence[str], files: Collection[str], audio: str, folder: str
) -> list[list[Reading]]:
    """Returns the readings of each row: one if it is clear which file is meant, several if not, none without a file.

    Args:
        names: Names as the table has them.
        labels: Label of each row, which is the file's folder in BirdCLEF's layout.
        files: Paths of all files below the audio folder.
        audio: Path or URL of the audio folder.
        folder: Path of the audio folder below the data set's folder, such as `train_audio`.
    """
    index: _Index | None = None
    matches = []
    for name, label in zip(names, labels, strict=True):
        if name in files:
            matches.append([Reading(name, name)])
            continue
        index = index or _Index(files)
        matches.append(index.read(name, _spellings(name, label, audio, folder)))
    return matches


def describe_readings(readings: Iterable[Reading]) -> list[str]:
    """Returns a text for each way in which names of the table differ from the files, with the number of rows."""
    found = [reading for reading in readings if reading.differences]
    counts = Counter(reading.differences for reading in found)
    examples = {reading.differences: reading for reading in reversed(found)}
    return [
        f'{count} file name(s) {" and ".join(differences)}, such as "{examples[differences].name}" for '
        f"{examples[differences].file}"
        for differences, count in counts.items()
    ]


def leads_outside(name: str) -> bool:
    """Whether a name leads out of the audio folder, or names nothing in it."""
    return not name.strip() or name.startswith("/") or ".." in re.split(r"[/\\]", name)


def suggest_files(name: str, readings: Sequence[Reading], files: Collection[str]) -> str:
    """Returns what may be meant by a name without a single reading, beginning with a semicolon; else an empty text."""
    plain = _clean(name)
    if is_hidden(plain):
        return "; names that begin with a dot are hidden: rename it"
    wanted = _fold(plain).rpartition("/")[2]
    near = [reading.file for reading in readings]
    near = near or [file for file in files if _fold(file).rpartition("/")[2] == wanted]
    if not near and any(_decode(file) == wanted for file in files if not is_text(file)):
        return "; the name of the file there is no UTF-8: rename it"
    near = near or [file for file in files if _stem(_fold(file).rpartition("/")[2]) == _stem(wanted)]
    return f"; did you mean {' or '.join(sorted(near)[:_HINTS])}?" if near else ""


class _Index:
    """Files by their names in one Unicode form, by these without capitals, and by these without an audio suffix."""

    def __init__(self, files: Collection[str]) -> None:
        self.files = files
        self.composed: dict[str, list[str]] = {}
        self.folded: dict[str, list[str]] = {}
        self.stems: dict[str, list[str]] = {}
        for file in sorted(files):
            self.composed.setdefault(unicodedata.normalize("NFC", file), []).append(file)
            self.folded.setdefault(_fold(file), []).append(file)
            if is_audio_name(file):
                self.stems.setdefault(_stem(_fold(file)), []).append(file)

    def read(self, name: str, spellings: Iterable[tuple[str, tuple[str, ...]]]) -> list[Reading]:
        """Returns the readings of a name by its first spelling that any file has.

        Args:
            name: Name as the table has it.
            spellings: Paths that the name may stand for, each with what the table writes in another way.
        """
        for spelling, differences in spellings:
            if spelling in self.files:
                return [Reading(name, spelling, differences)]
            for table, key, told in (
                (self.composed, unicodedata.normalize("NFC", spelling), "in another Unicode form"),
                (self.folded, _fold(spelling), "with other capitals"),
                (self.stems, _fold(spelling), "without suffix"),
            ):
                if found := table.get(key):
                    return [Reading(name, file, (*differences, told)) for file in found]
        return []


def _spellings(name: str, label: str, audio: str, folder: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields the paths below the audio folder that a name may stand for, each with what the table writes otherwise."""
    plain, told = _clean(name), list[str]()
    if name != name.strip():
        told.append("with a space at an end")
    if "\\" in name:
        told.append("with a backslash for /")
    if inside := _below(plain, audio):
        yield inside, (*told, "as an absolute path")
    if is_url(plain) or leads_outside(plain):
        return
    yield plain, tuple(told)
    prefix = f"{PurePosixPath(folder)}/"
    if _fold(plain).startswith(_fold(prefix)):
        yield plain[len(prefix) :], (*told, f"with {prefix} in front")
    yield f"{label}/{plain}", (*told, "without the folder of the species")
    if not is_url(audio) and (inside := _below(os.path.realpath(f"{audio}/{plain}"), audio)):
        yield inside, (*told, "through a link")


def _below(name: str, audio: str) -> str:
    """Returns the path below the audio folder of an absolute path or URL in it; else an empty text."""
    if is_url(audio) or not name.startswith("/"):
        return name.removeprefix(f"{audio}/") if name.startswith(f"{audio}/") else ""
    for path in (name, os.path.realpath(name)):
        for folder in (audio, os.path.realpath(audio)):
            if path.startswith(f"{folder}/"):
                return path.removeprefix(f"{folder}/")
    return ""


def _decode(file: str) -> str:
    """Returns the folded name of a file, without its folders, that was written on an old Windows."""
    return _fold(os.fsencode(file).decode("cp1252", errors="replace")).rpartition("/")[2]


def _clean(name: str) -> str:
    """Returns a name with / between folders, and without `./` and spaces around it."""
    plain = name.strip().replace("\\", "/")
    return plain if is_url(plain) or not plain else str(PurePosixPath(plain))


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _stem(name: str) -> str:
    return name.rpartition(".")[0] if is_audio_name(name) else name
