"""A fold's strips from the store to host memory, against the same bytes from one `.npy`, both from the page cache.

Run: python -m benchmarks load

The fold is four fifths of the strips of a store of made-up values, as a training side is.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer

from benchmarks.page import Page, format_table, publish
from cache.store.part_writer import PartWriter
from cache.store.strip_store import StripStore
from cache.workspace.feature_directory import FeatureDirectory

PARTS = 12
STRIPS_PER_PART = 64
CHANNELS = 128
MEAN_FRAMES = 2_500
REPEATS = 7


def main(context: typer.Context, page: Page = None) -> None:
    """Print the speed of both, and their ratio."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store, plain = Path(folder) / "store", Path(folder) / "fold.npy"
        for part in range(PARTS):
            with PartWriter(FeatureDirectory(store), CHANNELS) as writer:
                for number in range(STRIPS_PER_PART):
                    frames = 100 + int(rng.exponential(MEAN_FRAMES))
                    writer.add_strip(f"{part}-{number}", rng.normal(-60, 10, (frames, CHANNELS)).astype(np.float32))
                writer.publish()
        strips = StripStore(FeatureDirectory(store))
        fold = [sha256 for sha256 in strips.strips if rng.random() < 0.8]
        values, _, _ = strips.load(fold)
        np.save(plain, values)
        seconds: dict[str, list[float]] = {"store": [], "npy": []}
        for _ in range(REPEATS):
            seconds["store"].append(measure(lambda: strips.load(fold)))
            seconds["npy"].append(measure(lambda: np.load(plain)))
    speed = {name: values.nbytes / 1e9 / statistics.median(times) for name, times in seconds.items()}
    table = format_table(
        [f"{len(fold)} strips, {values.nbytes / 1e6:.0f} MB float16", "GB/s"],
        [["StripStore.load", f"{speed['store']:.2f}"], ["numpy.load", f"{speed['npy']:.2f}"]],
    )
    summary = f"The store loads at {speed['store'] / speed['npy']:.0%} of the speed of one file."
    publish(context, "load", f"{table}\n\n{summary}", page)


def measure(call: Callable[[], Any]) -> float:
    """Returns the seconds that a call takes, its result freed afterwards."""
    started = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - started
    del result
    return seconds
