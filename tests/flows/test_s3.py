"""The whole pipeline with data and workspace in a bucket, on two machines after each other."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cache.workspace.urls import list_files, read_bytes, upload
from cache.workspace.workspace import Workspace
from flows.monitoring.status import read_status

Birdclef = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.soak  # each stage in a bucket is tested alone
def test_pipeline_runs_in_a_bucket_and_goes_on_on_another_machine(
    birdclef: Birdclef,
    corpus: Path,
    tiny_overrides: list[str],
    s3: str,
    s3_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    for path in corpus.rglob("*.*"):
        upload(path, f"{s3}/corpus/{path.relative_to(corpus)}")
    workspace = f"{s3}/experiments/workspace"

    def run_on(machine: str, *overrides: str) -> tuple[str, str]:
        arguments = ["configs/demo.yaml", *tiny_overrides, f"data.root={s3}/corpus", *overrides]
        finished = birdclef(
            "run", *arguments, "--workspace", workspace, XDG_CACHE_HOME=str(tmp_path / machine), **s3_environment
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.splitlines()[-1], finished.stdout + finished.stderr

    report, _ = run_on("first")
    assert re.fullmatch(rf"{workspace}/reports/[0-9a-f]{{16}}", report)
    assert 0 <= json.loads(read_bytes(f"{report}/report.json"))["metrics"]["macro_f1"]["value"] <= 1
    assert b"</html>" in read_bytes(f"{report}/report.html")
    before = list_files(workspace)

    retrained, output = run_on("second", "train.*.learning_rate=0.01", "train.*.folds=[1]")
    assert re.search(r"\b0 .*compute.* 80 .*cache", output)
    assert retrained != report
    added = {name.rpartition("/")[0] for name in list_files(workspace).keys() - before.keys()}
    assert sorted(kind for kind, *rest in (name.split("/") for name in added) if len(rest) == 1) == [
        "predictions",
        "reports",
        "runs",
    ]
    listed = [artefact.kind for artefact in read_status(Workspace.open(workspace, tmp_path / "third"))]
    assert listed == ["features", "catalogues", "splits", *["runs"] * 3, *["predictions"] * 4, *["reports"] * 2]
