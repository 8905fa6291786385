"""Audio to stored log-mel: the whole features stage, against what people write today and against decoding alone.

Run: python -m benchmarks features DATA [--ogg] [--hours H] [--workers N] [--write PAGE]

Today: `joblib` over `librosa.load(sr=32000)` -> `melspectrogram` -> `power_to_db` -> `np.save`. The floor: `joblib`
over `soundfile.read`. All read the same files, which are in the page cache, in the same number of processes, started
anew each time. DATA is repeated, as other bytes of the same audio, until there are H hours; that two files hold the
same sound is seen from the digests of their strips, so the search for duplicates compares no more than in DATA itself.
"""

import io
import itertools
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import joblib
import librosa
import numpy as np
import pandas as pd
import soundfile
import typer
from joblib.externals.loky import get_reusable_executor
from numpy.typing import NDArray

from benchmarks.mel import FEATURES, librosa_log_mel
from benchmarks.page import Page, format_table, publish
from cache.audio.decoding import UnusableAudioError, decode_waveform
from cache.audio.ogg import fix_serial
from cache.config.data import DataConfig
from cache.features import build_features
from cache.workspace.workspace import Workspace

REPEATS = 5


def main(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(help="Data set in the BirdCLEF layout.", exists=True, file_okay=False)],
    ogg: Annotated[bool, typer.Option(help="Convert the recordings to mono Ogg Vorbis at 32 kHz first.")] = False,
    hours: Annotated[float, typer.Option(help="Repeat the recordings until there is this much audio.")] = 4.0,
    workers: Annotated[int, typer.Option(help="Processes of each contender.")] = 2,
    page: Page = None,
) -> None:
    """Print the wall time of each contender, the ratios, and the efficiency of the second worker."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, paths, audio_hours = prepare_corpus(data, Path(folder) / "corpus", hours, ogg=ogg)
        output = Path(folder) / "output"
        contenders: dict[str, Callable[[], object]] = {
            "decoding alone": lambda: run_joblib(workers, decode, paths),
            "features stage": lambda: build(corpus, output, workers),
            "librosa loop": lambda: run_joblib(workers, compute_with_librosa, paths, output),
            "decoding alone, 1 worker": lambda: run_joblib(1, decode, paths),
            "features stage, 1 worker": lambda: build(corpus, output, 1),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _, (name, run) in itertools.product(range(REPEATS), contenders.items()):
            seconds[name].append(measure(run, output))
    result = describe_times(seconds, audio_hours, len(paths), workers)
    publish(context, "features-ogg" if ogg else "features", result, page)


def describe_times(seconds: dict[str, list[float]], audio_hours: float, recordings: int, workers: int) -> str:
    """Returns medians with their range as Markdown; ratios are taken within each repetition.

    The speed of a shared machine drifts, so times of different repetitions are not compared.
    """
    rows = []
    for name, values in seconds.items():
        median = statistics.median(values)
        spread = f"{median:.1f} ({min(values):.1f}-{max(values):.1f})"
        to_floor = statistics.median(ratios(seconds, name, "decoding alone"))
        rows.append([name, spread, f"{to_floor:.2f}", f"{3600 * audio_hours / median:,.0f}"])
    size = f"{recordings} recordings, {audio_hours:.1f} h, {workers} processes"
    table = format_table([size, "s (range)", "x decoding", "x real time"], rows)
    faster, slower = (
        describe(ratios(seconds, *names))
        for names in (("librosa loop", "features stage"), ("features stage", "decoding alone"))
    )
    own, alone = (
        describe([ratio / workers for ratio in ratios(seconds, f"{name}, 1 worker", name)])
        for name in ("features stage", "decoding alone")
    )
    return (
        f"{table}\n\n{faster} times faster than the librosa loop, {slower} times decoding alone.\n"
        f"Parallel efficiency from 1 to {workers} workers: {own}; of decoding alone: {alone}."
    )


def ratios(seconds: dict[str, list[float]], name: str, other: str) -> list[float]:
    """Returns how many times as long as another a contender took, in each repetition."""
    return [own / against for own, against in zip(seconds[name], seconds[other], strict=True)]


def describe(values: list[float]) -> str:
    """Returns the median with the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def prepare_corpus(data: Path, corpus: Path, hours: float, *, ogg: bool) -> tuple[Path, list[Path], float]:
    """Returns a data set of decodable recordings, its audio files, and their hours."""
    table = pd.read_csv(data / "train_metadata.csv")
    usable: list[tuple[str, str, bytes, float]] = []
    for label, name in zip(table["primary_label"], table["filename"], strict=True):
        content = (data / "train_audio" / name).read_bytes()
        try:
            waveform = decode_waveform(content, FEATURES.sample_rate)
        except UnusableAudioError:
            continue
        content = encode_ogg(waveform) if ogg else content
        usable.append((label, name, content, len(waveform) / FEATURES.sample_rate / 3600))
    rows, paths, total = [], [], 0.0
    for number, (label, name, content, length) in enumerate(itertools.cycle(usable)):
        if number >= len(usable) and total >= hours:
            break
        path = corpus / "train_audio" / f"{number // len(usable)}" / (f"{name}.ogg" if ogg else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if ogg:
            path.write_bytes(fix_serial(content, number))
        else:
            path.write_bytes(content + b"TAG" + f"{number:0125d}".encode())  # an ID3v1 tag, which decoders skip
        rows.append({"primary_label": label, "filename": str(path.relative_to(corpus / "train_audio"))})
        paths.append(path)
        total += length
    pd.DataFrame(rows).to_csv(corpus / "train_metadata.csv", index=False)
    return corpus, paths, total


def encode_ogg(waveform: NDArray[np.float32]) -> bytes:
    """Returns a waveform as mono Ogg Vorbis at 32 kHz."""
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", FEATURES.sample_rate, 1, format="OGG", subtype="VORBIS") as stream:
        for start in range(0, len(waveform), FEATURES.sample_rate):  # libsndfile's encoder overflows on long blocks
            stream.write(waveform[start : start + FEATURES.sample_rate])
    return content.getvalue()


def measure(run: Callable[[], object], output: Path) -> float:
    """Returns the wall time of a run that starts without output and without worker processes."""
    get_reusable_executor().shutdown(wait=True)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def run_joblib(workers: int, function: Callable[..., None], paths: list[Path], *arguments: object) -> None:
    """Call a function on every path in some processes."""
    joblib.Parallel(n_jobs=workers)(joblib.delayed(function)(path, *arguments) for path in paths)


def decode(path: Path) -> None:
    """Decode a file, and no more."""
    soundfile.read(path, dtype="float32")


def compute_with_librosa(path: Path, output: Path) -> None:
    """Compute a recording's log-mel as most notebooks do, and save it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        waveform, _ = librosa.load(path, sr=FEATURES.sample_rate)
    np.save(output / f"{path.parent.parent.name}-{path.stem}.npy", librosa_log_mel(waveform))


def build(corpus: Path, workspace: Path, workers: int) -> None:
    """Run the features stage in an empty workspace."""
    features = FEATURES.model_copy(update={"workers": workers})
    build_features(DataConfig(root=str(corpus), max_quarantined_share=1.0), features, Workspace(workspace))
