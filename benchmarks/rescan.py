"""The features stage on a data set that it knows: how long it takes to find that nothing, or little, is new.

Run: python -m benchmarks rescan METADATA

METADATA is a table in the BirdCLEF layout, such as the competition's; a tiny file is made for each of its rows.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile
import typer

from benchmarks.page import Page, format_table, publish
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.features import build_features
from cache.workspace.workspace import Workspace

FEATURES = LogMelConfig(sample_rate=8_000, fmax=4_000.0, n_fft=256, hop_length=128, n_mels=8)
SIZES = (1_000, 4_000, 16_000, 1_000_000)
ADDED = 10


def main(
    context: typer.Context,
    metadata: Annotated[Path, typer.Argument(help="Table of recordings.", exists=True, dir_okay=False)],
    page: Page = None,
) -> None:
    """Print, for data sets of growing size, the seconds of a first build, of a rescan, and of ten new recordings."""
    table = pd.read_csv(metadata, dtype=str, keep_default_na=False)
    rows = []
    for size in sorted({min(size, len(table)) for size in SIZES}):
        with tempfile.TemporaryDirectory() as folder:
            data = DataConfig(root=str(Path(folder) / "data"))
            workspace = Path(folder) / "workspace"
            write_dataset(table.iloc[:size], data, seed=0)
            seconds = [measure(data, workspace), measure(data, workspace)]
            new = table.iloc[:ADDED].assign(filename=[f"new/{number}.wav" for number in range(ADDED)])
            write_dataset(pd.concat([table.iloc[:size], new]), data, seed=1)
            seconds.append(measure(data, workspace))
        rows.append([f"{size:,}", *(f"{value:.1f}" for value in seconds)])
    header = ["recordings", "first build, s", "nothing new, s", f"{ADDED} new, s"]
    publish(context, "rescan", format_table(header, rows), page)


def write_dataset(table: pd.DataFrame, data: DataConfig, seed: int) -> None:
    """Write the table, and half a second of noise for each file that is not there yet."""
    rng = np.random.default_rng(seed)
    for name in table["filename"]:
        path = Path(data.root) / data.audio / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1, 4_100), FEATURES.sample_rate, format="WAV")
    table.to_csv(Path(data.root) / data.metadata, index=False)


def measure(data: DataConfig, workspace: Path) -> float:
    """Returns the seconds that the features stage takes."""
    started = time.perf_counter()
    build_features(data, FEATURES, Workspace(workspace))
    return time.perf_counter() - started
