"""Who the champion is, by hand and at a URL; reports are those of tests/conftest.py's members."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from birdclef.champion import (
    best_report,
    champion_report,
    choose_report,
    deciding,
    keep_champion_folds,
    link_champion,
    old_reports,
    record,
    roll_back,
)
from birdclef.decisions import Judgement, find_champion, read_decisions
from cache.config.split import SplitConfig
from cache.garbage import find_garbage
from cache.workspace.keys import Recipe
from cache.workspace.urls import list_files, read_bytes
from cache.workspace.workspace import Workspace


def write_report(name: str, workspace: Path | Workspace) -> Path:
    """What of a report a decision reads."""

    def write(staging: Path) -> None:
        lineage = {"split": {"key": f"{name:0>16}"}, "runs": []}
        metrics = {"macro_f1": {"value": 0.5, "low": 0.4, "high": 0.6, "chance": 0.1}}
        counts = {"split": {"leak": {"leaking_share": 0.0}}, "coverage": {"recordings_scored": 9}}
        (staging / "report.json").write_text(
            json.dumps({"format": 1, "lineage": lineage, "metrics": metrics, **counts})
        )
        (staging / "experiment.yaml").write_text(name)

    opened = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    return opened.materialise(Recipe("reports", {"name": name}, {}, 1), write)


def decide(report: Path, verdict: str, workspace: Workspace, difference: float | None = None) -> None:
    interval = None if difference is None else {"value": difference, "low": difference, "high": difference}
    with deciding(workspace) as decisions:
        record(report, Judgement(verdict, "test", interval), decisions, workspace)  # type: ignore[arg-type]


def test_champion_is_the_last_report_that_was_not_refused(tmp_path: Path) -> None:
    a, b, c = (write_report(name, tmp_path) for name in "abc")
    for report, verdict, champion in ((a, "promoted", a), (b, "refused", a), (c, "promoted", c), (b, "refused", c)):
        decide(report, verdict, Workspace(tmp_path))
        assert champion_report(Workspace(tmp_path)) == champion
        assert (tmp_path / "models" / "champion").resolve() == champion.resolve()
    decisions = read_decisions(Workspace(tmp_path))
    assert [(one.number, one.report, one.against) for one in decisions] == [
        (1, a.name, None),
        (2, b.name, a.name),
        (3, c.name, a.name),
        (4, b.name, c.name),
    ]
    # sha256sum of "a"
    assert decisions[0].configuration == "ca978112ca1bbdca"
    assert decisions[0].macro_f1 == {"value": 0.5, "low": 0.4, "high": 0.6}


def test_best_report_without_a_champion_is_named_on_a_machine_that_did_not_make_it(
    tmp_path: Path, bucket_url: str
) -> None:
    first, second = (Workspace.open(bucket_url, tmp_path / name) for name in ("first", "second"))
    report = write_report("a", first)
    decide(report, "refused", first)
    with pytest.raises(FileNotFoundError, match=rf"the best report is {report.name} with 0\.500.*\. To predict with a"):
        champion_report(second)


def test_decisions_outlive_garbage_collection(tmp_path: Path) -> None:
    decide(write_report("a", tmp_path), "promoted", Workspace(tmp_path))
    assert find_garbage(Workspace(tmp_path)) == []


def test_rolling_back_goes_from_champion_to_champion(tmp_path: Path) -> None:
    a, b, c = (write_report(name, tmp_path) for name in "abc")
    for report in (a, b, c):
        decide(report, "promoted", Workspace(tmp_path))
    assert roll_back(None, Workspace(tmp_path)).report == b.name
    assert roll_back(None, Workspace(tmp_path)).report == a.name
    with pytest.raises(ValueError, match="There is no champion before the present one"):
        roll_back(None, Workspace(tmp_path))
    assert roll_back(3, Workspace(tmp_path)).reason == "back to number 3"
    assert champion_report(Workspace(tmp_path)) == c
    with pytest.raises(ValueError, match=r"Decision 9 made no champion\. These did: 1, 2, 3, 4, 5, 6\."):
        roll_back(9, Workspace(tmp_path))
    assert [one.verdict for one in read_decisions(Workspace(tmp_path))] == ["promoted"] * 3 + ["chosen"] * 3


def test_old_reports_are_all_but_the_newest_and_what_a_rollback_needs(tmp_path: Path) -> None:
    reports = {}
    for day, name in enumerate("abcdefg", start=1):
        reports[name] = write_report(name, tmp_path)
        path = reports[name] / "provenance.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "created": f"2026-01-0{day}T00:00:00+00:00"}))

    def old(newest: int) -> set[str]:
        keys = old_reports(Workspace(tmp_path), newest)
        return {name for name, path in reports.items() if path.name in keys}

    assert old(2) == set("abcde")
    for name, verdict in (("a", "promoted"), ("b", "promoted"), ("c", "refused"), ("d", "promoted"), ("e", "refused")):
        decide(reports[name], verdict, Workspace(tmp_path))
    assert old(2) == set("ace")
    assert old(7) == set()
    assert roll_back(None, Workspace(tmp_path)).report == reports["b"].name
    assert old(1) == set("cdef")  # the one before b is a; d can be promoted by hand while it is there
    assert roll_back(None, Workspace(tmp_path)).report == reports["a"].name
    assert old(1) == set("bcdef")


def test_best_champion_outlives_newer_ones_and_is_replaced_if_it_is_gone(tmp_path: Path) -> None:
    reports = {name: write_report(name, tmp_path) for name in "abcd"}
    for name, difference in (("a", None), ("b", 0.05), ("c", -0.01), ("d", -0.01)):
        decide(reports[name], "promoted", Workspace(tmp_path), difference)
    decisions = read_decisions(Workspace(tmp_path))
    assert best_report(decisions, Workspace(tmp_path)) == reports["b"]
    assert old_reports(Workspace(tmp_path), 0) == [reports["a"].name]  # d is champion, c before it, b the best
    (reports["b"] / "provenance.json").unlink()  # as an old version cleaned up
    assert best_report(decisions, Workspace(tmp_path)) == reports["c"]  # 0.04 above a


def test_any_report_is_chosen_by_hand_once(tmp_path: Path) -> None:
    a, b = (write_report(name, tmp_path) for name in "ab")
    assert choose_report(a.name, Workspace(tmp_path)).number == 1
    decide(b, "refused", Workspace(tmp_path))
    assert choose_report(b.name, Workspace(tmp_path)).against is None
    with pytest.raises(ValueError, match=f"{b.name} is the champion already, by decision 3"):
        choose_report(b.name, Workspace(tmp_path))
    with pytest.raises(FileNotFoundError, match="0000: no such report"):
        choose_report("0000", Workspace(tmp_path))
    assert champion_report(Workspace(tmp_path)) == b


def test_no_champion_is_told_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"has no champion yet\. Run the full pipeline once with `birdclef run`"
    ):
        champion_report(Workspace(tmp_path))
    with pytest.raises(ValueError, match="There is no champion before"):
        roll_back(None, Workspace(tmp_path))
    refused = write_report("a", tmp_path)
    decide(refused, "refused", Workspace(tmp_path))
    with pytest.raises(
        FileNotFoundError,
        match=rf"best report is {refused.name} with 0\.500\. Report {refused.name} was refused: test\. ",
    ):
        champion_report(Workspace(tmp_path))


def test_decision_counts_before_its_link_is_made(tmp_path: Path) -> None:
    a, b = (write_report(name, tmp_path) for name in "ab")
    for report in (a, b):
        decide(report, "promoted", Workspace(tmp_path))
    link = tmp_path / "models" / "champion"
    link.unlink()
    link.symlink_to(Path("..") / "reports" / a.name)  # as a process leaves it that is killed between the two
    assert champion_report(Workspace(tmp_path)) == b
    link_champion(read_decisions(Workspace(tmp_path)), Workspace(tmp_path))
    assert link.resolve() == b.resolve()


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_links_gets_a_file_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(link: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    report = write_report("a", tmp_path)
    decide(report, "promoted", Workspace(tmp_path))
    place = tmp_path / "models" / "champion"
    assert (place.parent / place.read_text().strip()).resolve() == report.resolve()
    assert champion_report(Workspace(tmp_path)) == report
    assert sorted(path.name for path in place.parent.iterdir() if path.name != ".lock")[1:] == ["champion"]


def test_torn_decision_is_not_read(tmp_path: Path) -> None:
    decide(write_report("a", tmp_path), "promoted", Workspace(tmp_path))
    (tmp_path / "models" / ".0002-x.json.77.partial").write_text('{"number": 2')
    assert len(read_decisions(Workspace(tmp_path))) == 1


def test_split_of_the_champion_is_kept_if_that_is_asked_for(tmp_path: Path) -> None:
    asked, key = SplitConfig(keep_folds_of="champion"), SplitConfig(keep_folds_of="0123456789abcdef")
    assert keep_champion_folds(asked, Workspace(tmp_path)) == SplitConfig(keep_folds_of=None)
    decide(write_report("a", tmp_path), "promoted", Workspace(tmp_path))
    assert keep_champion_folds(asked, Workspace(tmp_path)).keep_folds_of == "000000000000000a"
    assert keep_champion_folds(key, Workspace(tmp_path)) == key
    anew = SplitConfig(keep_folds_of=None)
    assert keep_champion_folds(anew, Workspace(tmp_path)) == anew


def test_two_processes_decide_one_after_the_other(tmp_path: Path) -> None:
    reports = [write_report(name, tmp_path) for name in "ab"]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(decide_often, [(report, tmp_path) for report in reports])
    decisions = read_decisions(Workspace(tmp_path))
    assert [one.number for one in decisions] == list(range(1, 21))
    champion = find_champion(decisions)
    assert champion is not None
    assert (tmp_path / "models" / "champion").readlink().name == champion.report == decisions[-1].report


def decide_often(report: Path, workspace: Path) -> None:
    for _ in range(10):
        decide(report, "promoted", Workspace(workspace))


def test_link_follows_a_killed_process_whose_lock_is_free(tmp_path: Path) -> None:
    report = write_report("a", tmp_path)
    code = f"""
import os, pathlib
from birdclef.champion import deciding
from cache.workspace.workspace import Workspace
with deciding(Workspace(pathlib.Path({str(tmp_path)!r}))):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    decide(report, "promoted", Workspace(tmp_path))
    assert champion_report(Workspace(tmp_path)) == report


def test_decisions_of_a_bucket_are_seen_on_every_machine(s3: str, tmp_path: Path) -> None:
    first, second = (Workspace.open(f"{s3}/champions", tmp_path / name) for name in ("first", "second"))
    a, b = (write_report(name, first) for name in "ab")
    decide(a, "promoted", first)
    assert champion_report(second) == second.directory / "reports" / a.name
    decide(b, "promoted", second)
    assert champion_report(first) == b
    assert roll_back(None, first).number == 3
    assert [one.number for one in read_decisions(second)] == [1, 2, 3]
    assert read_bytes(f"{s3}/champions/models/champion").decode() == f"{s3}/champions/reports/{a.name}\n"
    assert len([name for name in list_files(f"{s3}/champions/models") if name.endswith(".json")]) == 3
