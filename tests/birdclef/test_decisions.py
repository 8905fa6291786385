"""Histories of decisions that are written down here; the best champion follows from the differences by hand."""

import json
from pathlib import Path
from typing import Any

from birdclef.decisions import Decision, describe_decisions, find_champion, rank_champions, read_decisions
from cache.workspace.workspace import Workspace


def decide(number: int, report: str, verdict: str = "promoted", **changes: Any) -> Decision:
    """Returns a decision; `difference` and `to_best` are the measured differences, to `against` and to `best`."""
    intervals = {
        name: None if value is None else {"value": value, "low": value - 0.01, "high": value + 0.01}
        for name, value in (("difference", changes.get("difference")), ("difference_to_best", changes.get("to_best")))
    }
    return Decision(
        number=number,
        date="2026-01-01T00:00:00+00:00",
        report=report,
        verdict=verdict,  # type: ignore[arg-type]
        reason="a | b",
        macro_f1={"value": 0.5, "low": 0.4, "high": 0.6},
        against=changes.get("against"),
        configuration="0" * 16,
        best=changes.get("best"),
        **intervals,
    )


FALLING = [
    decide(1, "a"),
    decide(2, "b", against="a", difference=0.03),
    decide(3, "c", against="b", difference=-0.01),
    decide(4, "worse", "refused", against="c", difference=-0.2),
    decide(5, "d", against="c", difference=-0.01, best="b", to_best=-0.015),
]


def test_champions_are_ranked_by_their_differences_to_each_other() -> None:
    assert rank_champions([]) == []
    assert rank_champions(FALLING[:2]) == ["b", "a"]
    assert rank_champions(FALLING) == ["b", "c", "d", "a"]  # 0.03, 0.02, 0.015 and 0 above a
    above = decide(6, "e", against="d", difference=0.03, best="b", to_best=0.001)
    assert rank_champions([*FALLING, above])[0] == "e"
    equal = decide(6, "e", against="d", difference=0.015, best="b", to_best=0.0)
    assert rank_champions([*FALLING, equal])[:2] == ["e", "b"]


def test_decisions_of_an_old_version_are_ranked_by_the_chain_of_their_differences() -> None:
    chain = [decide(1, "a")]
    for number in range(2, 8):
        chain.append(decide(number, f"r{number}", against=chain[-1].report, difference=-0.01))
    assert rank_champions(chain) == ["a", *(f"r{number}" for number in range(2, 8))]


def test_choice_by_hand_begins_a_ranking_and_a_rollback_returns_to_the_one_of_then() -> None:
    by_hand = decide(6, "mine", "chosen")
    assert rank_champions([*FALLING, by_hand]) == ["mine"]
    assert rank_champions([*FALLING, by_hand, decide(7, "f", against="mine", difference=-0.01)]) == ["mine", "f"]
    assert rank_champions([*FALLING, decide(6, "c", "chosen")]) == ["b", "c", "a"]
    assert rank_champions([*FALLING, decide(6, "a", "chosen")]) == ["a"]  # b is what was rolled back


def test_decision_of_an_old_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    old = {name: value for name, value in vars(FALLING[0]).items() if name not in ("best", "difference_to_best")}
    (tmp_path / "models" / "0001-a.json").write_text(json.dumps(old))
    assert read_decisions(Workspace(tmp_path)) == [FALLING[0]]


def test_table_gives_every_decision_with_its_reason_and_marks_the_champion() -> None:
    champion = find_champion(FALLING)
    assert champion is not None
    assert champion.report == "d"
    rows = describe_decisions(FALLING).splitlines()[2:]
    assert [row.split(" | ")[2] for row in rows] == ["**d**", "worse", "c", "b", "a"]
    assert rows[1].endswith("| -0.200 [-0.210, -0.190] | refused: a \\| b |")
    assert rows[-1].endswith("| – | promoted: a \\| b |")
    marked = describe_decisions(FALLING, {"b", "d"}).splitlines()[2:]
    assert [row.split(" | ")[2] for row in marked] == ["**d** (removed)", "worse", "c", "b (removed)", "a"]
