from pathlib import Path

import pytest

from flows.configuration.overrides import apply_overrides, as_overrides, read_tree


def test_a_star_stands_for_every_key_of_its_level() -> None:
    tree = {"train": {"a": {"epochs": 1}, "b": {}}, "data": {}}
    assert apply_overrides(tree, ["train.*.epochs=3", "data.root=DIR"]) == [
        ("train", "a", "epochs"),
        ("train", "b", "epochs"),
        ("data", "root"),
    ]
    assert tree == {"train": {"a": {"epochs": 3}, "b": {"epochs": 3}}, "data": {"root": "DIR"}}


def test_settings_survive_as_overrides() -> None:
    settings = {"predict.shift_seconds": [0.0, 1.5], "train.a.model.weights": "none", "split.fold_column": None}
    tree: dict[str, object] = {"train": {"a": {}}}
    apply_overrides(tree, as_overrides(settings))
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
        apply_overrides({"data": {"root": "DIR"}, "split": {}}, [override])


def test_sections_that_an_anchor_shares_are_changed_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one: &x {k: 1}\ntwo: *x\n")
    tree = read_tree(tmp_path / "a.yaml")
    apply_overrides(tree, ["two.k=2"])
    assert tree == {"one": {"k": 1}, "two": {"k": 2}}
