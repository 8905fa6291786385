"""What a user can do if the table of recordings is not where the settings say."""

import difflib
from pathlib import Path

from cache.audio.containers import AUDIO_SUFFIXES
from cache.config.data import DataConfig
from cache.workspace.urls import is_url, resolve_address

_DEMO = "demo"
"""Name of the folder that the documentation generates data into."""


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
    if tables := sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".csv"):
        return f"The folder has {', '.join(tables[:3])}: set data.metadata={tables[0]}, or rename the table."
    if any(file.suffix.lower() in AUDIO_SUFFIXES for file in folder.rglob("*")):
        return (
            "The folder holds recordings but no table that names their species. docs/data.md says how to make one; "
            f"save it as {config.metadata}."
        )
    return f"{wanted}."


def _advise_on_folder(folder: Path, wanted: str) -> str:
    """Returns what to do if the folder of the data does not exist; for the demo, how to generate it."""
    if folder.name == _DEMO:
        return f"{wanted}, or generate the demo's recordings: birdclef synth {folder}"
    nearest = next(parent for parent in folder.parents if parent.is_dir())
    missing = folder.relative_to(nearest).parts[0]
    meant = difflib.get_close_matches(missing, [path.name for path in nearest.iterdir() if path.is_dir()], n=1)
    hint = f" Did you mean {nearest / meant[0]}?" if meant else ""
    return f"{folder} does not exist, and {nearest} has no folder {missing}.{hint} {wanted}."
