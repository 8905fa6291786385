"""What a user can do if the table of recordings, or the audio folder, is not where the settings say."""

import difflib
from pathlib import Path

from cache.config.data import DataConfig
from cache.recordings.audio_files import holds_audio
from cache.recordings.csv_table import read_header
from cache.workspace.urls import is_url, resolve_address

REQUIRED_COLUMNS = ("primary_label", "filename")
"""Columns that every table of recordings has."""
_DEMO = "demo"
"""Name of the folder that the documentation generates data into."""
_HEADER_BYTES = 65_536


def advise_on_table(config: DataConfig) -> str:
    """Returns what to do if there is no table: the table or the folder that was meant, or how to write a table."""
    root = resolve_address(config.root)
    wanted = f"Set data.root to a folder with {config.metadata} and {config.audio}/"
    if is_url(root):
        return f"{wanted}."
    folder = Path(root)
    if folder.is_file():
        return f"{folder} is a file. Set data.root to the folder with {config.metadata} and {config.audio}/."
    if not folder.is_dir():
        return _advise_on_folder(folder, wanted)
    if tables := sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and path.is_file()):
        fitting = [path.name for path in tables if _is_table(path)] or [path.name for path in tables]
        return f"The folder has {', '.join(fitting[:3])}: set data.metadata={fitting[0]}, or rename the table."
    if holds_audio(folder):
        return (
            "The folder holds recordings but no table that names their species. docs/data.md says how to make one; "
            f"save it as {config.metadata}."
        )
    return f"{wanted}."


def advise_on_audio(config: DataConfig) -> str:
    """Returns what to do if there is no audio folder: the folder of recordings beside the table, if there is one."""
    root = resolve_address(config.root)
    folders = [] if is_url(root) or not Path(root).is_dir() else sorted(filter(Path.is_dir, Path(root).iterdir()))
    likely = [folder.name for folder in folders if not folder.name.startswith(".") and holds_audio(folder)]
    if likely:
        close = difflib.get_close_matches(config.audio, likely, n=1, cutoff=0)[0]
        return f"The data set has a folder {close} with recordings: set data.audio={close}, or rename the folder."
    return "Set data.root to the folder that contains it, and data.audio to its name."


def _is_table(path: Path) -> bool:
    """Whether a CSV file has the columns of a table of recordings."""
    with path.open("rb") as stream:
        return set(REQUIRED_COLUMNS) <= set(read_header(stream.read(_HEADER_BYTES)))


def _advise_on_folder(folder: Path, wanted: str) -> str:
    """Returns what to do if the folder of the data does not exist; for the demo, how to generate it."""
    if folder.name == _DEMO:
        return f"{wanted}, or generate the demo's recordings: birdclef synth {folder}"
    nearest = next(parent for parent in folder.parents if parent.is_dir())
    missing = folder.relative_to(nearest).parts[0]
    meant = difflib.get_close_matches(missing, [path.name for path in nearest.iterdir() if path.is_dir()], n=1)
    hint = f" Did you mean {nearest / meant[0]}?" if meant else ""
    return f"{folder} does not exist, and {nearest} has no folder {missing}.{hint} {wanted}."
