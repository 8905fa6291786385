"""A run as one ONNX file: waveform in, probabilities out, the front end inside."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from birdclef.model import SpeciesModel
from birdclef.model_card import describe_model
from birdclef.onnx_classifier import METADATA
from birdclef.weights import TrainedRun, load_run
from cache.artefact import read_provenance
from cache.config import LogMelConfig
from cache.mel import compute_log_mel

TOLERANCE = 1e-4
"""Most that a probability may differ between the file and the library."""
_OPSET = 18
_CHECKED_WINDOWS = 6
_MISSING_EXTRA = "Exporting needs onnx, onnxscript, onnxruntime and torchaudio: pip install 'birdclef[onnx]'."


class WaveformModel(nn.Module):
    """Mel front end, model and softmax in one: what an exported file computes.

    The front end is torchaudio's with the definition of `cache.mel`. A window is taken alone, so where a strip would go
    on it is mirrored at its ends: silence there would be heard as a click.
    """

    def __init__(self, model: SpeciesModel, features: LogMelConfig, frames: int) -> None:
        # Imported here so that only those who export need torchaudio.
        from torchaudio.transforms import MelSpectrogram

        super().__init__()
        self.model = model
        self.frames = frames
        self.floor_power = 10 ** (features.floor_db / 10)
        self.mel = MelSpectrogram(
            sample_rate=features.sample_rate,
            n_fft=features.n_fft,
            hop_length=features.hop_length,
            f_min=features.fmin,
            f_max=features.fmax,
            n_mels=features.n_mels,
            power=2.0,
            center=True,
            pad_mode="reflect",
            norm="slaney",
            mel_scale="slaney",
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """Returns probabilities, (batch, classes), of windows, (batch, samples) in [-1, 1]."""
        power = self.mel(waveform)[:, :, : self.frames]  # (batch, n_mels, frames)
        log_mel = 10 * torch.log10(power.clamp(min=self.floor_power))
        probabilities: Tensor = self.model(log_mel.unsqueeze(1)).softmax(dim=1)
        return probabilities


def export_onnx(run: Path, output: Path) -> float:
    """Write a run as one ONNX file, and its model card beside it as `FILE.md`.

    The file is compared with the library before it appears.

    Args:
        run: Directory of the run, in its workspace.
        output: File to write, `.onnx`.

    Returns:
        The largest difference of a probability between file and library.

    Raises:
        ValueError: If `run` is no run, or `output` does not end in .onnx.
        RuntimeError: If a package is missing, or file and library differ by more than 1e-4.
    """
    if output.suffix != ".onnx":
        raise ValueError(f"{output} must end in .onnx.")
    if not (run / "weights.safetensors").is_file():
        raise ValueError(f"{run} is no run: give workspace/runs/KEY.")
    trained = load_run(run, torch.device("cpu"))
    log_mel_of(trained)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        _write(trained, read_provenance(run)["key"], partial)
        difference = measure_difference(trained, partial)
        if difference > TOLERANCE:
            raise RuntimeError(
                f"The exported model differs from {run} by {difference:.1e} in a probability, more than "
                f"{TOLERANCE:.0e}: nothing was written. Please report the backbone."
            )
        card = describe_model(run, trained, partial.stat().st_size)
        partial.replace(output)
        output.with_name(f"{output.name}.md").write_text(card)
    finally:
        partial.unlink(missing_ok=True)
    return difference


def measure_difference(trained: TrainedRun, path: Path) -> float:
    """Returns the largest difference of a probability between an exported file and the library, over made-up sounds."""
    import onnxruntime

    frames = _count_frames(trained)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    waveforms = _make_sounds(trained)
    (probabilities,) = session.run(None, {"waveform": waveforms})
    features = log_mel_of(trained)
    margin = -(-features.n_fft // (2 * features.hop_length))  # frames that reach over an end
    beyond = margin * features.hop_length
    mirrored = np.pad(waveforms, ((0, 0), (beyond, beyond)), mode="reflect")
    strips = np.stack([compute_log_mel(waveform, features)[margin : margin + frames].T for waveform in mirrored])
    with torch.inference_mode():
        expected = trained.model(torch.from_numpy(strips).unsqueeze(1)).softmax(dim=1).numpy()
    return float(np.abs(probabilities - expected).max())


def log_mel_of(trained: TrainedRun) -> LogMelConfig:
    """Returns the front end of a run, which an exported file holds.

    Raises:
        ValueError: If it is an embedding model.
    """
    if trained.features.kind == "log_mel":
        return trained.features
    raise ValueError(
        f"The run reads embeddings of {trained.features.model.name}, a file of others under "
        f"{trained.features.model.licence}, which cannot become part of an exported one. Predict with the run instead."
    )


def _write(trained: TrainedRun, key: str, path: Path) -> None:
    try:
        import onnx
        import onnxruntime  # noqa: F401 - told before the work, not after it
        import torchaudio  # noqa: F401
        from onnxscript import opset18
    except ImportError as error:
        raise RuntimeError(_MISSING_EXTRA) from error

    op: Any = opset18

    def lower_median(values, dim, keepdim):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001 - onnxscript
        one, two = op.Constant(value_ints=[1]), op.Constant(value_ints=[2])
        count = op.Div(op.Add(op.Shape(values, start=dim, end=dim + 1), one), two)
        ordered, places = op.TopK(values, count, axis=dim, largest=0, sorted=1)
        last = op.Sub(count, one)
        return op.Gather(ordered, last, axis=dim), op.Gather(places, last, axis=dim)

    model = WaveformModel(trained.model, log_mel_of(trained), _count_frames(trained)).eval()
    program = torch.onnx.export(
        model,
        (torch.zeros(2, _count_samples(trained)),),
        input_names=["waveform"],
        output_names=["probabilities"],
        dynamic_shapes={"waveform": {0: torch.export.Dim("batch", min=1, max=4096)}},
        custom_translation_table={torch.ops.aten.median.dim: lower_median},
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program.")
    interface = {
        "run": key,
        "species": trained.species,
        "sample_rate": trained.features.sample_rate,
        "clip_seconds": trained.clip_seconds,
        "features": trained.features.identity(),
    }
    proto = program.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(interface)
    onnx.save(proto, path)


def _make_sounds(trained: TrainedRun) -> NDArray[np.float32]:
    """Returns windows of noise, chirps and near silence, (windows, samples)."""
    generator = np.random.default_rng(0)
    samples = _count_samples(trained)
    time = np.arange(samples) / trained.features.sample_rate
    sounds = []
    for number in range(_CHECKED_WINDOWS):
        level = 10.0 ** -(number / 2)
        hertz = generator.uniform(500, trained.features.sample_rate / 4)
        chirp = np.sin(2 * np.pi * hertz * time * (1 + 0.1 * time)) * (np.sin(2 * np.pi * 3 * time) > 0)
        sounds.append(level * (0.3 * chirp + generator.normal(0, 0.05, samples)))
    return np.stack(sounds).astype(np.float32)


def _count_samples(trained: TrainedRun) -> int:
    return round(trained.clip_seconds * trained.features.sample_rate)


def _count_frames(trained: TrainedRun) -> int:
    return max(1, round(trained.clip_seconds * trained.features.frames_per_second))


EXPORTERS = {"onnx": export_onnx}
"""Name of each format to what writes it."""
