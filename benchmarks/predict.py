"""New recordings predicted by one run, with torch and with ONNX Runtime, against decoding alone.

Run: python -m benchmarks predict RUN RECORDINGS... [--minutes M]

RECORDINGS are joined to one soundscape of M minutes, Ogg Vorbis at 32 kHz, as the competition has them.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from benchmarks.features import encode_ogg
from benchmarks.page import Page, format_table, publish
from birdclef.export import export_onnx
from birdclef.predict_recordings import find_recordings, predict_recordings
from birdclef.serving.classifier import load_classifier
from cache.audio.decoding import UnusableAudioError, decode_waveform

RATE = 32_000
REPEATS = 3


def main(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Directory of a run.", exists=True, file_okay=False)],
    recordings: Annotated[list[Path], typer.Argument(help="Recordings or folders of them.", exists=True)],
    minutes: Annotated[float, typer.Option(help="Length of the soundscape.")] = 10.0,
    page: Page = None,
) -> None:
    """Print hours of audio per minute, and the ratio to decoding alone."""
    with tempfile.TemporaryDirectory() as folder:
        soundscape, model = Path(folder) / "soundscape.ogg", Path(folder) / "model.onnx"
        soundscape.write_bytes(encode_ogg(join(find_recordings(recordings), minutes)))
        difference = export_onnx(run, model)
        output = Path(folder) / "predictions.csv"
        torch_classifier, onnx_classifier = load_classifier(run), load_classifier(model)
        contenders: dict[str, Callable[[], object]] = {
            "decoding alone": lambda: soundfile.read(soundscape, dtype="float32"),
            "torch": lambda: predict_recordings(torch_classifier, [soundscape], output),
            "ONNX Runtime": lambda: predict_recordings(onnx_classifier, [soundscape], output),
        }
        seconds = {name: statistics.median(measure(work) for _ in range(REPEATS)) for name, work in contenders.items()}
    table = format_table(
        [f"{minutes:g} minutes, one run", "seconds", "hours of audio per minute", "x decoding"],
        [
            [name, f"{value:.2f}", f"{minutes / value:.1f}", f"{value / seconds['decoding alone']:.1f}"]
            for name, value in seconds.items()
        ],
    )
    summary = f"The exported model's probabilities differ from the library's by {difference:.1e} at most."
    publish(context, "predict", f"{table}\n\n{summary}", page)


def join(recordings: list[Path], minutes: float) -> np.ndarray:
    """Returns recordings one after the other, repeated until there are some minutes, (samples,)."""
    parts: list[np.ndarray] = []
    wanted = round(60 * minutes * RATE)
    while sum(map(len, parts)) < wanted:
        for recording in recordings:
            try:
                parts.append(decode_waveform(recording.read_bytes(), RATE))
            except UnusableAudioError:
                continue
    return np.concatenate(parts)[:wanted]


def measure(work: Callable[[], object]) -> float:
    """Returns the seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
