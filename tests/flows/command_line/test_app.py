"""The command line as its user runs it: real processes, real Prefect, a real report."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from birdclef.export import EXPORTERS
from cache.workspace.keys import KINDS
from flows.command_line.app import app, run_app
from flows.experiment import load_config

PROJECT = Path(__file__).resolve().parents[3]

Birdclef = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def tiny_overrides(tiny_overrides: list[str]) -> list[str]:
    """The same, with a part of the recordings held out."""
    return [*tiny_overrides, "split.test_share=0.25"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def first_run(birdclef: Birdclef, tiny_overrides: list[str], workspace: Path) -> subprocess.CompletedProcess[str]:
    return birdclef("run", "configs/demo.yaml", *tiny_overrides, "--workspace", str(workspace))


def _artefacts(workspace: Path) -> dict[str, set[str]]:
    kinds = ("features", "catalogues", "splits", "runs", "predictions", "reports")
    return {kind: {path.name for path in (workspace / kind).iterdir()} for kind in kinds}


def test_run_ends_with_the_report_directory(first_run: subprocess.CompletedProcess[str], workspace: Path) -> None:
    assert first_run.returncode == 0, first_run.stderr
    assert re.findall(".*(?:ERROR|CRITICAL|Traceback).*", first_run.stdout + first_run.stderr) == []
    report = Path(first_run.stdout.splitlines()[-1])
    assert report.parent == workspace / "reports"
    metrics = json.loads((report / "report.json").read_text())["metrics"]
    assert 0 <= metrics["macro_f1"]["low"] <= metrics["macro_f1"]["value"] <= metrics["macro_f1"]["high"] <= 1
    assert (report / "report.html").is_file()
    for picture in ("catalogues/*/catalogue.png", "splits/*/split.png"):
        assert [path.read_bytes()[:4] for path in workspace.glob(picture)] == [b"\x89PNG"], picture


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    assert CliRunner().invoke(app, ["--version"]).stdout == f"birdclef {project['version']}\n"


def test_example_with_square_brackets_is_in_the_help() -> None:
    assert "section.key=[value, value]" in re.sub(r"[\s│]+", " ", CliRunner().invoke(app, ["sweep", "--help"]).stdout)


def test_home_is_expanded_in_paths_that_no_shell_has_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(PROJECT / "configs/small.yaml", tmp_path / "mine.yaml")
    shown = [CliRunner().invoke(app, ["config", "show", name]).stdout for name in ("~/mine.yaml", "small")]
    assert shown[0].replace("mine.yaml", "small.yaml") == shown[1] != ""
    refused = CliRunner().invoke(app, ["diff", "~/report", "--output=~"]).exception
    assert str(refused) == f"The output {tmp_path} is a folder. Name a file in it."
    missing = CliRunner().invoke(app, ["predict", "~/run", "~/a.wav", "--output=~/b.csv"]).exception
    assert str(missing) == f"{tmp_path}/a.wav: no such file or folder. Check the path."


def test_report_keeps_every_effective_value(
    first_run: subprocess.CompletedProcess[str], tiny_overrides: list[str]
) -> None:
    kept = yaml.safe_load((Path(first_run.stdout.splitlines()[-1]) / "experiment.yaml").read_text())
    effective = load_config(Path("demo"), tiny_overrides).model_dump(mode="json")
    assert kept == {**effective, "split": {**effective["split"], "keep_folds_of": None}}  # there was no champion yet


def test_report_holds_the_sound_of_its_worst_error(
    first_run: subprocess.CompletedProcess[str], workspace: Path
) -> None:
    page = (Path(first_run.stdout.splitlines()[-1]) / "report.html").read_text()
    assert page.count("data:audio/mpeg;base64,") == 2


def test_command_in_the_report_repeats_it(
    birdclef: Birdclef, first_run: subprocess.CompletedProcess[str], workspace: Path
) -> None:
    report = Path(first_run.stdout.splitlines()[-1])
    before = _artefacts(workspace)
    command = shlex.split(json.loads((report / "report.json").read_text())["command"])
    assert command[0] == "birdclef"
    again = birdclef(*command[1:])
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == str(report)
    assert _artefacts(workspace) == before


def test_predict_judges_new_recordings_with_a_report_or_a_run(
    birdclef: Birdclef, corpus: Path, workspace: Path, first_run: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    report = Path(first_run.stdout.splitlines()[-1])
    folder = next(path for path in sorted((corpus / "train_audio").iterdir()) if len(list(path.iterdir())) > 1)
    done = birdclef("predict", str(report), str(folder), "--output", str(tmp_path / "new.csv"))
    assert done.returncode == 0, done.stderr
    count = len(list(folder.iterdir()))
    assert done.stdout.splitlines()[-1].startswith(f"{count} of {count} recordings")
    with (tmp_path / "new.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    per_species = json.loads((report / "report.json").read_text())["per_species"]
    assert list(rows[0]) == ["row_id", *(species["label"] for species in per_species)]
    for row in rows:
        assert sum(float(value) for value in list(row.values())[1:]) == pytest.approx(1, abs=1e-3)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "sounds" / "notes.txt").touch()
    run = next((workspace / "runs").iterdir())
    options = ("--output", str(tmp_path / "run.csv"), "--format", "long", "--threshold", "0")
    failed = birdclef("predict", str(run), str(folder), str(tmp_path / "sounds"), *options)
    assert failed.returncode == 1
    assert f"predict: {tmp_path / 'sounds' / 'broken.wav'}: " in failed.stderr
    assert f"predict: passed over in {tmp_path / 'sounds'}: 1 .txt" in failed.stderr
    assert failed.stdout.splitlines()[-1].startswith(f"{count} of {count + 1} recordings")
    assert (tmp_path / "run.csv").read_text().count("\n") > count


@pytest.mark.soak  # tests/birdclef/test_export.py has all but the command line
def test_exported_run_predicts(
    birdclef: Birdclef, corpus: Path, workspace: Path, first_run: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    run = min((workspace / "runs").iterdir())
    done = birdclef("export", str(run), "--to", "onnx", "--output", str(tmp_path / "model.onnx"))
    assert done.returncode == 0, done.stderr
    assert "differ from the library's by" in done.stdout
    assert (tmp_path / "model.onnx.md").is_file()
    recording = min((corpus / "train_audio").rglob("*.ogg"))
    options = ("--output", str(tmp_path / "a.txt"), "--format", "audacity", "--threshold", "0")
    labelled = birdclef("predict", str(tmp_path / "model.onnx"), str(recording), *options)
    assert labelled.returncode == 0, labelled.stderr
    assert (tmp_path / "a.txt").read_text().startswith("0.000000\t1.000000\t")


def test_every_exporter_is_a_format_of_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPORTERS, "plain", lambda run, output: 0.25)
    arguments = ["export", str(tmp_path / "run"), "--output", str(tmp_path / "model")]
    done = CliRunner().invoke(app, [*arguments, "--to", "plain"])
    assert done.exit_code == 0, done.output
    assert "differ from the library's by 2.5e-01 at most" in " ".join(done.output.split())
    wrong = CliRunner().invoke(app, [*arguments, "--to", "paper"])
    assert wrong.exit_code == 2
    assert "'paper' is not a format. Formats: onnx" in wrong.output


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1"])
def test_number_that_is_no_port_is_refused_before_anything_starts(port: str) -> None:
    refused = CliRunner().invoke(app, ["serve", "--port", port])
    assert refused.exit_code == 2
    assert "Invalid value for '--port': Input should be" in " ".join(refused.output.split())


@pytest.mark.parametrize("value", ["0", "1", "2", "no", "on"])
def test_any_value_of_a_switch_is_understood(value: str) -> None:
    done = CliRunner().invoke(
        app, ["config", "show", "demo"], env={"BIRDCLEF_VERBOSE": value, "BIRDCLEF_LOG_JSON": "0"}
    )
    assert done.exit_code == 0, done.output


def test_file_beside_is_told_from_the_preset_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small").write_text("data: {root: mine}\ntrain: {cnn: {}}\n")
    shown = [yaml.safe_load(CliRunner().invoke(app, ["config", "show", name]).stdout) for name in ("./small", "small")]
    assert [each["data"]["root"] for each in shown] == ["mine", "data/small"]


@pytest.mark.parametrize(
    "command", [["run", "demo"], ["sweep", "demo", "split.folds=[2,3]"], ["compare", "demo"], ["serve"]], ids=str
)
@pytest.mark.parametrize(
    ("workspace", "told"),
    [
        ("nosuch://x", "opens no nosuch:// URLs"),
        ("file", "is a file"),
        ("/proc/x", "cannot be written"),
        ("", "is empty"),
    ],
)
def test_wrong_workspace_is_told_before_prefect_is_loaded(
    command: list[str], workspace: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> None:
        raise AssertionError("Prefect's settings are applied")

    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    monkeypatch.setattr("flows.command_line.foreground.apply_settings", load)
    monkeypatch.setattr("flows.command_line.serve.apply_settings", load)
    done = CliRunner().invoke(app, [*command, "--workspace", workspace])
    assert isinstance(done.exception, ValueError | OSError)
    assert told in str(done.exception)


def test_reports_are_compared(
    birdclef: Birdclef, workspace: Path, first_run: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    report = first_run.stdout.splitlines()[-1]
    done = birdclef("diff", report, report, "--samples", "20", "--output", str(tmp_path / "diff.json"))
    assert done.returncode == 0, done.stderr
    assert "| Macro-F1 |" in done.stdout
    assert json.loads((tmp_path / "diff.json").read_text())["reports"] == [Path(report).name] * 2


def test_rerun_computes_nothing(
    birdclef: Birdclef,
    tiny_overrides: list[str],
    workspace: Path,
    first_run: subprocess.CompletedProcess[str],
) -> None:
    before = _artefacts(workspace)
    again = birdclef("evaluate", "configs/demo.yaml", *tiny_overrides, "--workspace", str(workspace))
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == first_run.stdout.splitlines()[-1]
    assert re.search(r"\b0 .*compute.* 80 .*cache", again.stderr + again.stdout)
    assert _artefacts(workspace) == before


def test_changed_learning_rate_retrains_on_the_same_features(
    birdclef: Birdclef,
    tiny_overrides: list[str],
    workspace: Path,
    first_run: subprocess.CompletedProcess[str],
) -> None:
    before = _artefacts(workspace)
    changed = [*tiny_overrides, "train.*.learning_rate=0.01", "train.*.folds=[1]"]
    trained = birdclef("train", "configs/demo.yaml", *changed, "--workspace", str(workspace))
    assert trained.returncode == 0, trained.stderr
    after = _artefacts(workspace)
    assert len(after["runs"] - before["runs"]) == 1
    assert {kind: after[kind] for kind in ("features", "catalogues", "splits", "predictions", "reports")} == {
        kind: before[kind] for kind in ("features", "catalogues", "splits", "predictions", "reports")
    }


def test_sweep_compares_every_combination_from_one_cache(
    birdclef: Birdclef,
    tiny_overrides: list[str],
    workspace: Path,
    first_run: subprocess.CompletedProcess[str],
) -> None:
    before = _artefacts(workspace)
    grid = [*tiny_overrides, "evaluate.ensemble=[mean,rank]", "evaluate.seed=[0]"]
    swept = birdclef("sweep", "configs/demo.yaml", *grid, "--workspace", str(workspace))
    assert swept.returncode == 0, swept.stderr
    directory = Path(swept.stdout.splitlines()[-1])
    assert directory.parent == workspace / "sweeps"
    with (directory / "sweep.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[:2] == ["evaluate.ensemble", "macro_f1"]  # what does not vary is left out
    assert [row["evaluate.ensemble"] for row in rows] == ["mean", "rank"]
    assert (swept.stderr + swept.stdout).count("`birdclef predict` will refuse it: evaluate.ensemble=rank") == 1
    for row in rows:
        report = json.loads((workspace / "reports" / row["report"] / "report.json").read_text())
        assert float(row["macro_f1"]) == report["metrics"]["macro_f1"]["value"]
    assert _artefacts(workspace)["runs"] == before["runs"]
    assert (directory / "sweep.png").read_bytes().startswith(b"\x89PNG")
    page = (directory / "sweep.md").read_text()
    assert [line.count("|") for line in page.splitlines() if line.startswith("|")] == [12] * 4
    assert "macro-F1" in page.splitlines()[-1]


def test_compare_trains_arms_at_the_same_cost_and_holds_them_against_ce(
    birdclef: Birdclef,
    tiny_overrides: list[str],
    workspace: Path,
    first_run: subprocess.CompletedProcess[str],
) -> None:
    options = ("--arm", "joint-adjusted", "--arm", "wide projection_dim=64", "--epochs", "1", "--seeds", "1")
    wrong = birdclef("compare", "configs/demo.yaml", *tiny_overrides, *options, "--workspace", str(workspace))
    assert wrong.returncode == 1
    assert "projection_dim" in wrong.stderr  # of the model, not of the member
    assert "Traceback" not in wrong.stderr
    options = ("--arm", "joint-adjusted", "--arm", "wide model.projection_dim=64", "--epochs", "1", "--seeds", "1")
    before = _artefacts(workspace)
    settings = [*tiny_overrides, "train.*.folds=[0]"]
    done = birdclef("compare", "configs/demo.yaml", *settings, *options, "--workspace", str(workspace))
    assert done.returncode == 0, done.stderr
    directory = Path(done.stdout.splitlines()[-1])
    assert directory.parent == workspace / "comparisons"
    contest = json.loads((directory / "comparison.json").read_text())
    assert [entry["name"] for entry in contest["arms"]] == ["ce", "joint-adjusted", "wide"]
    assert len({entry["views"] for entry in contest["arms"]}) == 1
    assert all(entry["peak_memory_mb"] > 10 for entry in contest["arms"])
    assert len(_artefacts(workspace)["runs"] - before["runs"]) == 2  # joint-adjusted is what the first run trained


@pytest.mark.soak
def test_two_processes_train_together_when_the_flow_is_told(
    birdclef: Birdclef,
    tiny_overrides: list[str],
    workspace: Path,
    first_run: subprocess.CompletedProcess[str],
) -> None:
    changed = [*tiny_overrides, "train.*.seed=7", "train.*.folds=[1]", "train.*.devices=2"]
    trained = birdclef("train", "configs/demo.yaml", *changed, "--workspace", str(workspace))
    assert trained.returncode == 0, trained.stderr
    run = Path(trained.stdout.splitlines()[-1])
    assert (run / "weights.safetensors").is_file()
    assert (trained.stderr + trained.stdout).count("train: epoch 1 of 1") == 1  # the first process tells, not both
    changed[-1] = "train.*.devices=1"
    again = birdclef("train", "configs/demo.yaml", *changed, "--workspace", str(workspace))
    assert again.stdout.splitlines()[-1] == str(run)  # how many processes trained it is not what it is


@pytest.mark.soak  # tests/flows/command_line/test_previews.py draws another member
def test_augment_preview_writes_a_picture(
    birdclef: Birdclef, tiny_overrides: list[str], workspace: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "augment.png"
    done = birdclef(
        "augment",
        "preview",
        "configs/demo.yaml",
        *tiny_overrides,
        "--workspace",
        str(workspace),
        "--output",
        str(picture),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_status_lists_lineage(birdclef: Birdclef, workspace: Path, first_run: subprocess.CompletedProcess[str]) -> None:
    listed = birdclef("status", BIRDCLEF_WORKSPACE=str(workspace)).stdout
    (split,) = (workspace / "splits").iterdir()
    (catalogue,) = (workspace / "catalogues").iterdir()
    assert f"catalogue {catalogue.name}" in listed
    assert f"split {split.name}" in listed


def test_status_for_scripts_is_one_json_object(
    birdclef: Birdclef, workspace: Path, first_run: subprocess.CompletedProcess[str]
) -> None:
    own = {"BIRDCLEF_WORKSPACE": str(workspace), "PREFECT_API_URL": "http://127.0.0.1:9/api"}  # not that of other tests
    found = json.loads(birdclef("status", "--json", **own).stdout)
    assert {artefact["key"] for artefact in found["artefacts"]} == {
        path.name for kind in KINDS for path in (workspace / kind).glob("*")
    }
    assert found["total_bytes"] == sum(artefact["size_bytes"] for artefact in found["artefacts"])
    assert (found["at_work"], found["unfinished"], found["runs"]) == (False, {}, [])


def test_log_in_json_has_one_object_a_line(
    birdclef_alone: Birdclef,
    prefect_server: str,
    tiny_overrides: list[str],
    workspace: Path,
    first_run: subprocess.CompletedProcess[str],
) -> None:
    birdclef = partial(birdclef_alone, BIRDCLEF_WORKSPACE=str(workspace), PREFECT_API_URL=prefect_server)
    done = birdclef("--log-json", "features", "configs/demo.yaml", *tiny_overrides)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    (counted,) = [line for line in lines if "from_cache" in line]
    assert (counted["from_cache"], counted["to_compute"]) == (80, 0)
    assert any(line["logger"].startswith("prefect.") for line in lines)
    failed = birdclef("--log-json", "features", "configs/none.yaml")
    assert "no such configuration" in json.loads(failed.stderr)["message"]


def test_status_of_an_empty_workspace_says_so(birdclef: Birdclef, tmp_path: Path) -> None:
    assert "holds no artefact yet" in birdclef("status", "--workspace", str(tmp_path)).stdout


def test_config_show_prints_every_effective_value(birdclef: Birdclef) -> None:
    shown = birdclef("config", "show", "configs/demo.yaml", "train.*.views=3").stdout
    assert re.search(r"^    views: 3 +# override$", shown, re.MULTILINE)
    assert re.search(r"^  floor_db: -100\.0 +# default$", shown, re.MULTILINE)
    assert shown == birdclef("config", "show", "demo", "train.*.views=3").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "configs/none.yaml"], "no such configuration"),
        (["sweep", "smal", "split.folds=[2, 3]"], "There is no preset 'smal'; did you mean small?"),
        (["run", "demo", "train.cnn.epoch=1"], "train.cnn.epoch: there is no such key; did you mean epochs?"),
        (["synth", "somewhere", "--species", "3"], "species"),
    ],
)
def test_wrong_input_is_one_message_and_status_1(birdclef: Birdclef, arguments: list[str], message: str) -> None:
    failed = birdclef(*arguments)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert message in failed.stderr


def test_missing_package_is_one_message_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flows.command_line.predict.apply_settings", lambda: None)  # they would outlive the test
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model, sound = tmp_path / "model.onnx", tmp_path / "a.wav"
    model.touch()
    sound.touch()
    output = str(tmp_path / "a.csv")
    monkeypatch.setattr(sys, "argv", ["birdclef", "predict", str(model), str(sound), "--output", output])
    with pytest.raises(SystemExit) as ended:
        run_app()
    assert ended.value.code == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("ImportError: ")
    assert "onnxruntime" in told
    assert "pip install 'birdclef[onnx]'" in told


def test_missing_data_names_the_remedy(birdclef: Birdclef, tmp_path: Path) -> None:
    failed = birdclef("features", "configs/demo.yaml", f"data.root={tmp_path}/none", "--workspace", str(tmp_path))
    assert failed.returncode == 1
    assert f"{tmp_path} has no folder none" in failed.stderr
    assert "Beginning flow run" not in failed.stderr + failed.stdout  # told before Prefect starts
    assert "Retries exhausted" not in failed.stderr + failed.stdout
    assert "AwaitingRetry" not in failed.stderr + failed.stdout


def test_verify_names_damage_and_repairs_only_it(
    birdclef: Birdclef, tiny_overrides: list[str], workspace: Path, first_run: subprocess.CompletedProcess[str]
) -> None:
    arguments = ("verify", "configs/demo.yaml", *tiny_overrides, "--workspace", str(workspace))
    sound = birdclef(*arguments)
    assert sound.returncode == 0, sound.stderr
    assert sound.stdout.endswith("are sound.\n")
    part = sorted(workspace.glob("features/*/parts/*"))[0]
    chunk = part / "c" / "0" / "0"
    content = chunk.read_bytes()
    chunk.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    told = birdclef(*arguments, "--no-repair")
    assert told.returncode == 1
    assert f"part {part.name}: 1 of " in told.stdout
    repaired = birdclef(*arguments)
    assert repaired.returncode == 0, repaired.stderr
    assert "the damaged parts above were computed again.\n" in repaired.stdout
    assert chunk.read_bytes() == content


def test_torn_weights_do_not_predict_are_named_by_verify_and_made_again_by_the_run(
    birdclef: Birdclef,
    tiny_overrides: list[str],
    workspace: Path,
    corpus: Path,
    first_run: subprocess.CompletedProcess[str],
    tmp_path: Path,
) -> None:
    report = Path(first_run.stdout.splitlines()[-1])
    key = json.loads((report / "report.json").read_text())["lineage"]["runs"][0]["key"]
    weights = workspace / "runs" / key / "weights.safetensors"
    content = weights.read_bytes()
    half = len(content) // 2
    weights.write_bytes(content[:half] + bytes(len(content) - half))
    predicted = birdclef("predict", str(report), str(corpus / "train_audio"), "--output", str(tmp_path / "a.csv"))
    assert predicted.returncode == 1
    assert f"{weights.parent} is damaged: weights.safetensors is not what was published there." in predicted.stderr
    arguments = ("configs/demo.yaml", *tiny_overrides, "--workspace", str(workspace))
    told = birdclef("verify", *arguments, "--no-repair")
    assert told.returncode == 1
    assert f"runs/{weights.parent.name}: not what was published: weights.safetensors" in told.stdout
    assert weights.exists()
    for _ in range(2):  # what is missing is still missing the next time
        removed = birdclef("verify", *arguments)
        assert removed.returncode == 1
        assert f"reports/{report.name} cannot predict, because it lacks runs/{key}." in removed.stdout
        assert not weights.parent.exists()
    made_again = removed.stdout.rpartition("To make what is missing again: birdclef ")[2]
    assert birdclef(*shlex.split(made_again)).returncode == 0
    assert weights.read_bytes() == content
    assert birdclef("verify", *arguments).returncode == 0


def test_gc_shows_and_removes_what_nothing_refers_to(
    birdclef: Birdclef, tiny_overrides: list[str], workspace: Path, first_run: subprocess.CompletedProcess[str]
) -> None:
    made = birdclef(
        "features", "configs/demo.yaml", *tiny_overrides, "features.n_mels=8", "--workspace", str(workspace)
    )
    assert made.returncode == 0, made.stderr
    catalogue = Path(made.stdout.splitlines()[-1])
    leftover = workspace / ".staging" / "reports-killed"
    leftover.mkdir()
    (leftover / "half").write_text("x" * 2000)
    asked = birdclef("gc", "--workspace", str(workspace))  # nobody answers
    assert asked.returncode == 1
    assert "2.0 kB  .staging/reports-killed: left by work that did not end" in asked.stdout
    assert leftover.is_dir()
    removed = birdclef("gc", "--workspace", str(workspace), "--yes")
    assert removed.returncode == 0, removed.stderr
    assert not leftover.exists()
    assert catalogue.is_dir()  # the newest of its features
    assert Path(first_run.stdout.splitlines()[-1]).is_dir()
    again = birdclef("gc", "--workspace", str(workspace))
    assert again.stdout.startswith("There is nothing to remove in ")


def test_held_out_part_is_scored_once_and_each_look_is_listed(
    birdclef: Birdclef, workspace: Path, first_run: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    place, elsewhere = ("--workspace", str(workspace)), tmp_path / "workspace"
    report = Path(first_run.stdout.splitlines()[-1])
    scored = birdclef("held-out", str(report), BIRDCLEF_WORKSPACE=str(elsewhere))
    assert scored.returncode == 0, scored.stderr
    assert not elsewhere.exists()  # the report's own workspace is enough
    directory = Path(scored.stdout.splitlines()[-1])
    assert directory.parent == workspace / "held_out"
    score = json.loads((directory / "held_out.json").read_text())
    with (workspace / "splits" / score_split(report) / "split.csv").open(newline="") as stream:
        held_out = {row["recording_id"] for row in csv.DictReader(stream) if row["fold"] == "-2"}
    with (directory / "recordings.csv").open(newline="") as stream:
        assert {row["recording_id"] for row in csv.DictReader(stream)} == held_out
    assert score["recordings"] == len(held_out) > 10
    assert "This is the first look at these" in scored.stdout + scored.stderr
    listed = birdclef("models", *place).stdout
    assert f"| 1 | {score['report']} |" in re.sub(r" \d{4}-[^|]*\|", "", listed)
    assert f"held_out {directory.name}" in re.sub(" +", " ", birdclef("status", *place).stdout)


def score_split(report: Path) -> str:
    key: str = json.loads((report / "report.json").read_text())["lineage"]["split"]["key"]
    return key
