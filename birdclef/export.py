"""Exports a run as one ONNX file, which turns waveforms or embeddings into probabilities.

For waveforms, the log-mel front end is part of the file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from birdclef.export_formats.exportable import exportable
from birdclef.export_formats.model_card import describe_model, is_model_card
from birdclef.model.trained_run import TrainedRun, load_run
from birdclef.scores.report_file import REPORT, read_report
from birdclef.serving.onnx_classifier import METADATA, embedding_folder
from cache.front_end.embedding import copy_model
from cache.workspace.provenance import read_provenance
from cache.workspace.user_output import check_output, is_regular, replace_output
from cache.workspace.workspace import Workspace

TOLERANCE = 1e-4
"""Largest allowed difference of a probability between the file and the library."""
_OPSET = 18
_MISSING_EXTRA = (
    "Exporting needs onnx, onnxscript, onnxruntime and torchaudio. Install them with: pip install 'birdclef[onnx]'"
)


def export_onnx(run: Path, output: Path) -> float:
    """Write a run as one ONNX file, and its model card as `FILE.md` beside it.

    The file appears only after its probabilities were compared with those of the library. For a run on embeddings, the
    embedding model is copied into a folder beside the file (`embedding_folder`); it has a licence of its own.

    Args:
        run: Directory of the run, in its workspace.
        output: File to write, `.onnx`.

    Returns:
        Largest difference of a probability between file and library.

    Raises:
        ValueError: If `run` is not a run, `output` does not end in .onnx or is no regular file, a file beside it is no
            model card, or as `check_output`.
        NotADirectoryError: If the folder of the embedding model is a file.
        ImportError: If a package is not installed.
        RuntimeError: If file and library differ by more than `TOLERANCE`.
    """
    if output.suffix != ".onnx":
        raise ValueError(f"{output} must end in .onnx.")
    if not (run / "weights.safetensors").is_file():
        raise ValueError(f"{run} is not a run. Give workspace/runs/KEY{_name_runs(run)}.")
    if not is_regular(output):
        raise ValueError(f"{output} is no regular file. Name another file.")
    card_file = output.with_name(f"{output.name}.md")
    check_output(output, [run], "onnx")
    check_output(card_file, [run])
    if card_file.exists() and not is_model_card(card_file):
        raise ValueError(
            f"{card_file} is no model card of birdclef, and the one of {output} would replace it. Move it away, or "
            "name another output."
        )
    if embedding_folder(output).is_file():
        raise NotADirectoryError(
            f"{embedding_folder(output)} is a file, but the embedding model of {output} needs a folder there. Move it "
            "away, or name another output."
        )
    workspace = Workspace.containing(run)
    trained = load_run(run, workspace, torch.device("cpu"))
    with replace_output(output, [run], "onnx") as partial:
        _write(trained, read_provenance(run)["key"], partial)
        difference = measure_difference(trained, partial)
        if difference > TOLERANCE:
            raise RuntimeError(
                f"The exported model differs from {run} by {difference:.1e} in a probability, more than "
                f"{TOLERANCE:.0e}, so no file was written. Please report the backbone as a bug."
            )
        card = describe_model(run, workspace, trained, output, partial.stat().st_size)
        if trained.features.kind == "embedding":
            copy_model(trained.features.model, trained.store, embedding_folder(output))
    with replace_output(card_file, [run]) as described:
        described.write_text(card)
    return difference


def measure_difference(trained: TrainedRun, path: Path) -> float:
    """Returns the largest difference of a probability between an exported file and the library, on synthetic inputs."""
    import onnxruntime

    subject = exportable(trained)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = subject.make_inputs()
    (probabilities,) = session.run(None, {subject.input_name: inputs})
    return float(np.abs(probabilities - subject.expected(inputs)).max())


def _name_runs(report: Path) -> str:
    """Returns the keys of a report's runs, for a message; empty if the directory is no report."""
    if not (report / REPORT).is_file():
        return ""
    runs = read_report(report)["lineage"]["runs"]
    return f"; the runs of this report are {', '.join(run['key'] for run in runs)}"


def _write(trained: TrainedRun, key: str, path: Path) -> None:
    try:
        import onnx
        import onnxruntime  # noqa: F401 - a missing package is reported before the work starts
        import torchaudio  # noqa: F401
        from onnxscript import opset18
    except ImportError as error:
        raise ImportError(_MISSING_EXTRA) from error

    op: Any = opset18

    def lower_median(values, dim, keepdim):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001 - onnxscript
        one, two = op.Constant(value_ints=[1]), op.Constant(value_ints=[2])
        count = op.Div(op.Add(op.Shape(values, start=dim, end=dim + 1), one), two)
        ordered, places = op.TopK(values, count, axis=dim, largest=0, sorted=1)
        last = op.Sub(count, one)
        return op.Gather(ordered, last, axis=dim), op.Gather(places, last, axis=dim)

    subject = exportable(trained)
    program = torch.onnx.export(
        subject.module,
        (torch.from_numpy(subject.make_inputs()),),
        input_names=[subject.input_name],
        output_names=["probabilities"],
        dynamic_shapes={subject.input_name: {0: torch.export.Dim("batch", min=1, max=4096)}},
        custom_translation_table={torch.ops.aten.median.dim: lower_median},
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program.")
    interface = {
        "run": key,
        "input": subject.input_name,
        "species": trained.species,
        "sample_rate": trained.features.sample_rate,
        "clip_seconds": trained.clip_seconds,
        "features": trained.features.identity(),
    }
    proto = program.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(interface)
    onnx.save(proto, path)


EXPORTERS = {"onnx": export_onnx}
"""Name of each export format to the function that writes it."""
