from pathlib import Path

import pytest

from flows.configuration.overrides import apply_overrides, as_overrides, parse_override, read_tree
from flows.experiment import ExperimentConfig


def test_a_star_stands_for_every_key_of_its_level() -> None:
    tree = {"train": {"a": {"epochs": 1}, "b": {}}, "data": {}}
    assert apply_overrides(tree, ["train.*.epochs=3", "data.root=DIR"], ExperimentConfig) == [
        ("train", "a", "epochs"),
        ("train", "b", "epochs"),
        ("data", "root"),
    ]
    assert tree == {"train": {"a": {"epochs": 3}, "b": {"epochs": 3}}, "data": {"root": "DIR"}}


def test_settings_survive_as_overrides() -> None:
    settings = {"predict.shift_seconds": [0.0, 1.5], "train.a.model.weights": "none", "split.fold_column": None}
    tree: dict[str, object] = {"train": {"a": {}}}
    apply_overrides(tree, as_overrides(settings), ExperimentConfig)
    assert tree == {
        "train": {"a": {"model": {"weights": "none"}}},
        "predict": {"shift_seconds": [0.0, 1.5]},
        "split": {"fold_column": None},
    }


@pytest.mark.parametrize(
    ("override", "told"),
    [("split.folds", "section.key=value"), ("split.folds=[", "not valid YAML"), ("data.root.x=1", "'root'")],
)
def test_a_malformed_override_is_told(override: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        apply_overrides({"data": {"root": "DIR"}, "split": {}}, [override], ExperimentConfig)


def test_sections_that_an_anchor_shares_are_changed_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one: &x {k: 1}\ntwo: *x\n")
    tree = read_tree(tmp_path / "a.yaml")
    apply_overrides(tree, ["two.k=2"], ExperimentConfig)
    assert tree == {"one": {"k": 1}, "two": {"k": 2}}


TEXTS = """/data/set #2
1e3|2026|no|~|~/birds|2026-11-30|[a]|{a: b}|a: b|*x|!x|%a|0x1F|null|don't|'a' and 'b'|é|a\\b|@site
1_000|12:30|a, b""".replace("\n", "|")


@pytest.mark.parametrize("text", TEXTS.split("|"))
def test_text_is_taken_as_it_is_written(text: str) -> None:
    """YAML would cut it, or take it for a number, a date, a list or nothing."""
    assert parse_override(f"data.root={text}", ExperimentConfig) == ("data.root", text)


@pytest.mark.parametrize(
    "value", ["a", "1e3", "x #2", "null", "'", '"', "it''s", " a ", "", "long word " * 30, "a\nb", "\t", "\u2028"]
)
def test_text_survives_as_an_override(value: str) -> None:
    (override,) = as_overrides({"data.audio": value})
    assert parse_override(override, ExperimentConfig) == ("data.audio", value)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("data.background=null", None),
        ("split.fold_column=", None),
        ("data.background='null'", "null"),
        ('split.group_by="1e3"', "1e3"),
        ("data.root= /a ", "/a"),
        ("split.keep_folds_of=1234567890123456", "1234567890123456"),
        ("split.folds=auto", "auto"),
        ("split.folds=4", 4),
        ("train.*.epochs=1", 1),
        ("train.*.model.weights=none", "none"),
        ("train.a.augment.nothing='a # b'", "a # b"),
        ("features.workers=2", 2),
    ],
)
def test_other_values_are_yaml(override: str, value: object) -> None:
    assert parse_override(override, ExperimentConfig)[1] == value


@pytest.mark.parametrize("override", ["split.folds=4 # five", "features.model=./my model #2.yaml", "split.seed=#"])
def test_comment_in_a_value_is_refused(override: str) -> None:
    with pytest.raises(ValueError, match="YAML skips what follows #"):
        parse_override(override, ExperimentConfig)
