"""An exported run in ONNX Runtime against the library; sounds and model are made by the tests."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from birdclef import export as module
from birdclef.config.model import ModelConfig
from birdclef.config.train import TrainConfig
from birdclef.devices.gpu_lock import alone_on
from birdclef.export import export_onnx
from birdclef.export_formats.model_card import is_model_card
from birdclef.model.network import build_model
from birdclef.predict_recordings import predict_recordings, predict_with
from birdclef.serving.classifier import load_classifier
from birdclef.serving.onnx_classifier import OnnxClassifier
from cache.config.features import LogMelConfig
from cache.front_end.log_mel import compute_log_mel
from cache.recordings.catalogue_tables import read_species
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

BesideTraining = Callable[[Callable[[], Path]], Path]
FEATURES = LogMelConfig(sample_rate=8000, n_fft=256, hop_length=100, n_mels=32, fmin=50, fmax=4000)  # 80 frames/s


@pytest.fixture(scope="module", params=["band_median"])
def run(
    request: pytest.FixtureRequest, evaluation_split: Path, evaluation_catalogue: Path, evaluation_workspace: Path
) -> Path:
    """An untrained run with opinions: two seconds, five species."""
    model = ModelConfig(backbone="test_resnet", normalisation=request.param, projection_hidden=8)
    config = TrainConfig(model=model, clip_seconds=2.0)
    species = read_species(evaluation_catalogue)["label"].tolist()

    def write(staging: Path) -> None:
        torch.manual_seed(0)
        built = build_model(model, len(species))
        torch.nn.init.normal_(built.classifier.weight, std=0.5)
        save_file(
            {name: value.contiguous() for name, value in built.state_dict().items()}, staging / "weights.safetensors"
        )
        description = {
            "species": species,
            "features": FEATURES.identity(),
            "store": "0123456789abcdef",
            "clip_seconds": 2.0,
            "model": model.model_dump(mode="json"),
        }
        (staging / "model.json").write_text(json.dumps(description))
        (staging / "logs").mkdir()
        (staging / "logs" / "metrics.csv").write_text("epoch,val_macro_f1,val_accuracy\n0,0.1,0.2\n1,,\n2,0.75,0.5\n")

    recipe = Recipe("runs", {**config.identity(), "fold": 1}, {"split": artefact_key(evaluation_split)}, 99)
    return Workspace(evaluation_workspace).materialise(recipe, write)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    assert export_onnx(run, path) < 1e-4
    return path


def make_waveform(seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * 8000)) / 8000
    noise = np.random.default_rng(1).normal(0, 0.02, len(time))
    return (0.3 * np.sin(2 * np.pi * (300 + 200 * time) * time) + noise).astype(np.float32)


@pytest.mark.parametrize("run", ["band_median", pytest.param("dataset", marks=pytest.mark.soak)], indirect=True)
def test_file_takes_any_number_of_windows_and_agrees_with_the_library(run: Path, exported: Path) -> None:
    onnx.checker.check_model(onnx.load(exported), full_check=True)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    model = load_classifier(run).members[0].models[0]  # type: ignore[attr-defined]
    waveform = make_waveform(10)
    for count in (1, 3):
        windows = waveform[: count * 16_000].reshape(count, 16_000)
        (probabilities,) = session.run(None, {"waveform": windows})
        assert probabilities.shape == (count, 5)
        assert probabilities.sum(axis=1) == pytest.approx(np.ones(count), abs=1e-5)
        for window, own in zip(windows, probabilities, strict=True):
            mirrored = np.pad(window, 400, mode="reflect")  # four frames, more than half an FFT
            crop = compute_log_mel(mirrored, FEATURES)[4:164].T
            with torch.inference_mode():
                expected = model(torch.from_numpy(crop.copy())[None, None]).softmax(dim=1)[0]
            assert own == pytest.approx(expected.numpy(), abs=1e-4)
    assert np.ptp(probabilities, axis=0).max() > 1e-3  # windows differ


def test_file_says_what_it_takes(run: Path, exported: Path, evaluation_catalogue: Path) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    interface = json.loads(session.get_modelmeta().custom_metadata_map["birdclef"])
    assert interface["run"] == run.name
    assert interface["species"] == read_species(evaluation_catalogue)["label"].tolist()
    assert (interface["sample_rate"], interface["clip_seconds"]) == (8000, 2.0)
    assert LogMelConfig(**interface["features"]) == FEATURES


def test_only_the_run_itself_waits_for_the_gpu(
    run: Path, exported: Path, tmp_path: Path, beside_training: BesideTraining
) -> None:
    soundfile.write(tmp_path / "a.wav", make_waveform(3), 8000)

    def predict(source: Path) -> Path:
        predict_with(source, [tmp_path / "a.wav"], tmp_path / "a.csv")
        return tmp_path / "a.csv"

    assert beside_training(lambda: predict(run)).is_file()
    with alone_on(["GPU-a"]):
        assert predict(exported).is_file()


def test_exported_model_predicts_recordings(exported: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", make_waveform(7), 8000)
    classifier = load_classifier(exported)
    assert isinstance(classifier, OnnxClassifier)
    outcome = predict_recordings(classifier, [tmp_path / "a.wav"], tmp_path / "a.csv")
    assert outcome.failures == {}
    with (tmp_path / "a.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert [row[0] for row in rows] == ["row_id", "a_2", "a_4", "a_6", "a_8"]
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    waveform, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    windows = np.stack([waveform[start : start + 16_000] for start in (0, 16_000, 32_000, 40_000)])
    expected = session.run(None, {"waveform": windows})[0]
    np.testing.assert_allclose(np.array([row[1:] for row in rows[1:]], float), expected, atol=1e-5)


def test_model_card_tells_data_scores_and_limits(run: Path, exported: Path, evaluation_split: Path) -> None:
    card = exported.with_name("model.onnx.md").read_text()
    assert card.startswith(f"# Model card: birdclef run {run.name}\n")
    folds = [line.rsplit(",") for line in (evaluation_split / "split.csv").read_text().splitlines()[1:]]
    trained = sum(",1," not in ",".join(line) for line in folds)
    assert f"trained on recordings: {trained}, " in card
    assert "by the same recordist. No copy of a scored recording was trained on" in " ".join(card.split())
    assert "macro-F1 0.750, accuracy 0.500" in card  # of the last epoch that was validated
    plain, page = (
        " ".join(text.split()) for text in (card, (Path(__file__).parents[2] / "docs" / "prediction.md").read_text())
    )
    assert "The thresholds of a report do not fit" in plain
    assert "The report's thresholds do not fit" in page
    assert "Take thresholds from a report" not in plain
    assert "| not stated in the table | " in card
    assert "d\\|&lt;i>finch" in card
    assert "<script>" not in card


def test_file_that_disagrees_is_not_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measure_difference", lambda trained, path: 0.02)
    with pytest.raises(RuntimeError, match=r"differs from .* by 2\.0e-02 in a probability, more than 1e-04"):
        export_onnx(run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_difference_is_seen(run: Path, exported: Path, tmp_path: Path) -> None:
    from birdclef.model.trained_run import load_run

    other = load_run(run, Workspace.containing(run), torch.device("cpu"))
    with torch.no_grad():
        other.model.classifier.bias[0] += 0.1
    assert module.measure_difference(other, exported) > 1e-3


def test_wrong_names_are_refused(run: Path, tmp_path: Path, evaluation_split: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        export_onnx(run, tmp_path / "model.pt")
    (tmp_path / "folder.onnx.md").mkdir()  # where the card would stand
    with pytest.raises(IsADirectoryError, match=r"folder\.onnx\.md is a folder"):
        export_onnx(run, tmp_path / "folder.onnx")
    with pytest.raises(ValueError, match=r"is not a run\. Give workspace/runs/KEY"):
        export_onnx(evaluation_split, tmp_path / "model.onnx")
    (tmp_path / "report.json").write_text(
        json.dumps({"format": 1, "lineage": {"runs": [{"key": "abc"}, {"key": "def"}]}})
    )
    with pytest.raises(ValueError, match=r"the runs of this report are abc, def\."):
        export_onnx(tmp_path, tmp_path / "model.onnx")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_classifier(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="is not a readable ONNX file"):
        load_classifier(tmp_path / "model.onnx")


def test_files_beside_the_output_that_are_not_of_birdclef_stay(run: Path, exported: Path, tmp_path: Path) -> None:
    assert is_model_card(exported.with_name(f"{exported.name}.md"))
    (tmp_path / "a.onnx.md").write_text("# My notes\n")
    with pytest.raises(ValueError, match=r"a\.onnx\.md is no model card of birdclef, .* Move it away, or name another"):
        export_onnx(run, tmp_path / "a.onnx")
    (tmp_path / "b.embedding").write_text("notes")
    with pytest.raises(NotADirectoryError, match=r"b\.embedding is a file, but .* needs a folder there\. Move it away"):
        export_onnx(run, tmp_path / "b.onnx")
    (tmp_path / "c.onnx").symlink_to("/dev/stdout")
    with pytest.raises(ValueError, match=r"c\.onnx is no regular file"):
        export_onnx(run, tmp_path / "c.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx.md", "b.embedding", "c.onnx"]


def test_missing_package_is_named_before_the_work(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"Exporting needs onnx, .*: pip install 'birdclef\[onnx\]'"):
        export_onnx(run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_exported_model_is_not_overwritten_by_what_it_predicts(exported: Path, tmp_path: Path) -> None:
    before = exported.read_bytes()
    with pytest.raises(ValueError, match="is one of the files to read"):
        predict_with(exported, [tmp_path / "a.wav"], exported)
    assert exported.read_bytes() == before


def test_exported_file_that_reads_another_file_is_refused(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load(exported), path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(ValueError, match=r"model\.onnx keeps weights in another file"):
        load_classifier(path)


def test_foreign_onnx_file_is_refused(exported: Path, tmp_path: Path) -> None:
    foreign = onnx.load(exported)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ValueError, match="does not list its species"):
        load_classifier(tmp_path / "foreign.onnx")
