"""Which pictures a report draws, by counts written by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from birdclef.config.evaluate import EvaluateConfig
from birdclef.report import pictures
from birdclef.report.pictures import PICTURE_TITLES, draw_pictures, why_no_map, why_no_reliability, why_no_trend
from birdclef.scores.report_scores import Scored, score_members
from cache.workspace.workspace import Workspace

CONFIG = EvaluateConfig(bootstrap_samples=5, permutations=2)
NAMES = {"abbowl": "Owl", "barwre": "Wren", "cdove": "Dove", "d|<i>finch": "Finch", "eremit": "Hermit"}


@pytest.fixture(scope="module")
def scored(evaluation_members: dict[str, list[Path]], evaluation_baseline: Path, evaluation_workspace: Path) -> Scored:
    return score_members(CONFIG, evaluation_members, evaluation_baseline, Workspace(evaluation_workspace))


@pytest.mark.parametrize(
    ("counts", "told"), [([2, 3, 2, 3], "2 to 3 recordings"), ([4, 11], "4 to 11"), ([7], "7 to 7")]
)
def test_species_of_like_counts_show_no_trend(counts: list[int], told: str) -> None:
    table = pd.DataFrame({"recordings": [*counts, 900], "scored": [*counts, 0]})
    assert told in str(why_no_trend(table))
    assert why_no_trend(pd.concat([table, pd.DataFrame({"recordings": [40], "scored": [39]})])) is None


def test_reliability_needs_three_ranges_with_ten_recordings() -> None:
    def calibration(counts: list[int]) -> dict[str, object]:
        return {"after": {"bins": [{"recordings": count} for count in counts]}}

    assert why_no_reliability(calibration([10, 3, 10, 40])) is None
    assert str(why_no_reliability(calibration([9, 9, 9, 9, 12, 40]))).startswith(
        "of 15 ranges of confidence, only 2 hold 10"
    )


def test_pictures_show_the_names_of_the_species(scored: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, set[str]] = {}
    for name, read in (
        ("plot_confusion", lambda matrix, names: set(names)),
        ("plot_embeddings", lambda maps: {label for one in maps for label in one.labels}),
    ):
        monkeypatch.setattr(
            pictures.plots, name, lambda *given, name=name, read=read: shown.update({name: read(*given)}) or b""
        )
    draw_pictures(scored, CONFIG, NAMES)
    assert shown["plot_confusion"] == set(NAMES.values())
    assert shown["plot_embeddings"] == set(NAMES.values()) - {"Hermit"}


def test_pictures_that_mean_nothing_are_left_out_with_a_reason(scored: Scored) -> None:
    drawn = draw_pictures(scored, CONFIG, NAMES)
    assert set(drawn.drawn) == set(PICTURE_TITLES)
    assert drawn.left_out == {}
    alike = [{**one, "recordings": 3} for one in scored.report["per_species"]]
    bins = [{**one, "recordings": 9} for one in scored.report["calibration"]["after"]["bins"]]
    calibration = {**scored.report["calibration"], "after": {"bins": bins}}
    few = replace(scored, report={**scored.report, "per_species": alike, "calibration": calibration})
    without = draw_pictures(few, CONFIG.model_copy(update={"map_recordings": 0}), NAMES)
    assert set(without.drawn) == {"confusion", "learning_curves"}
    assert set(without.left_out) == {"f1_against_count", "reliability", "embeddings"}
    assert without.left_out["embeddings"] == "evaluate.map_recordings=0"


def test_reason_for_no_map_tells_few_recordings_from_a_small_setting(scored: Scored) -> None:
    drawn = draw_pictures(scored, CONFIG.model_copy(update={"map_recordings": 4}), NAMES)
    assert "evaluate.map_recordings=4 recordings" in drawn.left_out["embeddings"]
    rare = pd.DataFrame({"fold": [0] * 8 + [1] * 3, "label": list("aaabbbccccc")})  # two c in fold 0, nothing else in 1
    assert why_no_map(rare, 2000) == "no fold has 3 species with 3 recordings, so no species can lie together"
