"""Unattended retraining on a growing data set: what is decoded, which folds stay, who is champion, what is told."""

import csv
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from birdclef.champion import champion_report
from birdclef.decisions import Decision, read_decisions
from cache.folds.split_table import read_split
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

Birdclef = Callable[..., subprocess.CompletedProcess[str]]
Webhook = Any  # of conftest.py


class Growing:
    """A data set whose table grows, and the pipeline on it."""

    def __init__(self, folder: Path, corpus: Path, birdclef: Birdclef, overrides: list[str], webhook: Webhook) -> None:
        self.workspace = folder / "workspace"
        self._root = folder / "data"
        self._corpus = corpus
        self._birdclef = birdclef
        self._overrides = [one for one in overrides if not one.startswith("data.root=")]
        self._webhook = webhook
        self._root.mkdir()
        (self._root / "train_audio").symlink_to(corpus / "train_audio")

    def grow(self, keep: Callable[[int], bool]) -> None:
        """Have the table hold those rows of the corpus whose number is to be kept."""
        header, *rows = (self._corpus / "train_metadata.csv").read_text().splitlines()
        kept = [row for number, row in enumerate(rows) if keep(number)]
        (self._root / "train_metadata.csv").write_text("\n".join([header, *kept]) + "\n")

    def run(self, *overrides: str) -> subprocess.CompletedProcess[str]:
        arguments = [*self._overrides, f"data.root={self._root}", "train.*.folds=[0]", *overrides]
        return self("run", "configs/demo.yaml", *arguments)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"BIRDCLEF_WORKSPACE": str(self.workspace), "BIRDCLEF_WEBHOOK": self._webhook.url}
        return self._birdclef(*arguments, **environment)

    def decisions(self) -> list[Decision]:
        return read_decisions(Workspace(self.workspace))


@pytest.fixture(scope="module")
def growing(
    birdclef: Birdclef,
    corpus: Path,
    tiny_overrides: list[str],
    webhook: Webhook,
    tmp_path_factory: pytest.TempPathFactory,
) -> Growing:
    return Growing(tmp_path_factory.mktemp("growing"), corpus, birdclef, tiny_overrides, webhook)


@pytest.fixture(scope="module")
def first(growing: Growing) -> subprocess.CompletedProcess[str]:
    growing.grow(lambda number: number % 8 != 0)
    return growing.run()


@pytest.fixture(scope="module")
def retrained(growing: Growing, first: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    by_hand = growing("models", "promote", Path(first.stdout.splitlines()[-1]).name)
    assert by_hand.returncode == 0, by_hand.stderr
    growing.grow(lambda number: number != 79)  # 10 come, one goes
    return growing.run("promote.margin=1")


@pytest.fixture(scope="module")
def refused(growing: Growing, retrained: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    return growing.run("train.*.folds=[1]")


def test_first_report_that_is_no_better_than_chance_is_refused_and_told(
    growing: Growing, first: subprocess.CompletedProcess[str], webhook: Webhook
) -> None:
    assert first.returncode == 0, first.stderr
    assert re.search(r"\b70 .*compute.* 0 .*cache", first.stdout + first.stderr)
    assert "evaluate: Training did not pay here: " in first.stdout + first.stderr
    (decision,) = growing.decisions()
    report = Path(first.stdout.splitlines()[-1])
    assert (decision.report, decision.verdict) == (report.name, "refused")
    assert "is not shown to be better than chance" in decision.reason
    assert f"`birdclef models promote {report.name}` takes it all the same" in first.stdout + first.stderr
    assert not (growing.workspace / "models" / "champion").exists()
    told = next(one for one in webhook.received if one["event"] == "model")
    assert (told["flow"], told["state"]) == ("birdclef", "refused")
    assert f"report {report.name}, number 1: {decision.reason}" in told["message"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/flow-runs/flow-run/[0-9a-f-]{36}", told["link"])


def test_unchanged_rerun_says_that_nothing_changed(
    growing: Growing, first: subprocess.CompletedProcess[str], webhook: Webhook
) -> None:
    told = len(webhook.received)
    artefacts = {path: path.stat().st_mtime_ns for path in growing.workspace.rglob("provenance.json")}
    again = growing.run()
    assert again.returncode == 0, again.stderr
    report = first.stdout.splitlines()[-1]
    assert again.stdout.splitlines()[-1] == report
    assert re.search(f"promote: .*{Path(report).name}.* number 1", again.stdout + again.stderr)
    assert {path: path.stat().st_mtime_ns for path in growing.workspace.rglob("provenance.json")} == artefacts
    assert len(growing.decisions()) == 1
    assert len(webhook.received) == told


def test_only_new_recordings_are_decoded_and_known_ones_keep_their_folds(
    growing: Growing, first: subprocess.CompletedProcess[str], retrained: subprocess.CompletedProcess[str]
) -> None:
    assert retrained.returncode == 0, retrained.stderr
    assert re.search(r"\b10 .*compute.* 69 .*cache", retrained.stdout + retrained.stderr)
    before, after = (
        read_split(Workspace(growing.workspace).artefact("splits", key)).set_index("recording_id")["fold"]
        for key in (_split_of(Path(finished.stdout.splitlines()[-1])) for finished in (first, retrained))
    )
    assert (len(before), len(after)) == (70, 79)
    validated = before[(before >= 0) & before.index.isin(after.index)]
    assert len(validated) > 50
    assert list(after[validated.index]) == list(validated)


def test_candidate_within_the_margin_is_promoted_and_told(
    growing: Growing, retrained: subprocess.CompletedProcess[str], webhook: Webhook
) -> None:
    chosen, second = growing.decisions()[1:3]
    assert (chosen.verdict, chosen.reason) == ("chosen", "by hand")
    assert (second.verdict, second.against) == ("promoted", chosen.report)
    assert second.difference is not None
    assert champion_report(Workspace(growing.workspace)) == Path(retrained.stdout.splitlines()[-1])
    assert (growing.workspace / "models" / "champion" / "report.html").is_file()
    message = [one["message"] for one in webhook.received if one["event"] == "model"][1]
    assert f"number 3: {second.reason}" in message
    assert re.search(f"promote: {second.report} promoted", retrained.stdout + retrained.stderr)


def test_decision_is_an_artifact_of_the_run(
    growing: Growing, retrained: subprocess.CompletedProcess[str], prefect_server: str
) -> None:
    wanted = json.dumps({"artifacts": {"key": {"any_": ["champion"]}}}).encode()
    query = Request(f"{prefect_server}/artifacts/filter", wanted, {"Content-Type": "application/json"})
    with urlopen(query, timeout=30) as response:
        pages = [artifact["data"] for artifact in json.load(response)]
    second = growing.decisions()[2]
    assert any(page.startswith(f"**promoted**: {second.reason}\n") for page in pages)


def test_candidate_that_shares_no_recording_with_the_champion_is_refused_and_told(
    growing: Growing, refused: subprocess.CompletedProcess[str], webhook: Webhook
) -> None:
    assert refused.returncode == 0, refused.stderr
    assert re.search(r"\b0 .*compute.* 79 .*cache", refused.stdout + refused.stderr)
    second, third = growing.decisions()[2:4]
    assert (third.verdict, third.against) == ("refused", second.report)
    assert f"`birdclef models promote {third.report}`" in third.reason
    assert champion_report(Workspace(growing.workspace)).name == second.report
    assert [one["state"] for one in webhook.received if one["event"] == "model"][:3] == [
        "refused",
        "promoted",
        "refused",
    ]


def test_settings_of_a_report_name_the_split_whose_folds_it_kept(
    growing: Growing, first: subprocess.CompletedProcess[str], retrained: subprocess.CompletedProcess[str]
) -> None:
    before, after = (Path(finished.stdout.splitlines()[-1]) for finished in (first, retrained))
    assert "keep_folds_of: null\n" in (before / "experiment.yaml").read_text()
    assert f"keep_folds_of: {_split_of(before)}\n" in (after / "experiment.yaml").read_text()


def test_champion_predicts_by_its_name(
    growing: Growing, retrained: subprocess.CompletedProcess[str], corpus: Path, tmp_path: Path
) -> None:
    recording = min((corpus / "train_audio").rglob("*.ogg"))
    done = growing("predict", "champion", str(recording), "--output", str(tmp_path / "a.csv"))
    assert done.returncode == 0, done.stderr
    with (tmp_path / "a.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) > 0


def test_history_is_listed_rolled_back_and_chosen_by_hand(
    growing: Growing, refused: subprocess.CompletedProcess[str]
) -> None:
    one, _, two, three = growing.decisions()
    listed = growing("models").stdout.splitlines()
    reports = [line.split(" | ")[2] for line in listed[2:]]
    assert reports == [three.report, f"**{two.report}**", one.report, one.report]
    back = growing("models", "rollback")
    assert back.stdout == f"{one.report} is the champion, number 5: back to number 2.\n"
    chosen = growing("models", "promote", three.report)
    assert chosen.stdout == f"{three.report} is the champion, number 6: by hand.\n"
    wrong = growing("models", "rollback", "4")
    assert wrong.returncode == 1
    assert "Decision 4 made no champion" in wrong.stderr


def test_failed_run_is_told_and_the_token_is_written_nowhere(
    growing: Growing, refused: subprocess.CompletedProcess[str], webhook: Webhook, tmp_path: Path
) -> None:
    failed = growing.run(f"data.root={tmp_path}/none")
    assert failed.returncode == 1
    told = webhook.received[-1]
    assert (told["event"], told["flow"], told["state"]) == ("run", "birdclef", "Failed")
    assert f"{tmp_path} has no folder none" in told["message"]
    secret = webhook.url.rpartition("/")[2]
    assert secret not in failed.stdout + failed.stderr + refused.stdout + refused.stderr
    written = [path for path in growing.workspace.rglob("*") if path.is_file() and not path.is_symlink()]
    assert written
    assert not [path for path in written if secret.encode() in path.read_bytes()]


def _split_of(report: Path) -> str:
    predictions = Workspace(report.parent.parent).artefact("predictions", read_provenance(report)["inputs"]["baseline"])
    return str(read_provenance(predictions)["inputs"]["split"])
