"""Configurations: the shipped ones load, wrong ones are refused with the key's path."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from birdclef.comparison.arms import ARMS
from cache.config.section import ConfigSection
from flows.experiment import ExperimentConfig, as_overrides, dump_config, expand_grid, load_arms, load_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PRESETS = sorted(CONFIGS.rglob("*.yaml"))


def _write(path: Path, **sections: object) -> Path:
    path.write_text(yaml.safe_dump({"data": {"root": "d"}, "train": {"cnn": {}}, **sections}))
    return path


def test_the_promised_presets_exist() -> None:
    assert {path.name for path in PRESETS} >= {
        "demo.yaml",
        "small.yaml",
        "baseline.yaml",
        "seed.yaml",
        "ensemble.yaml",
        "embeddings.yaml",
        "fusion.yaml",
    }


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_preset_is_complete(preset: Path, tiny_model: Path) -> None:
    """Every field that the typed tree knows stands in the file, so nobody has to look up a default."""
    written = yaml.safe_load(preset.read_text())
    embeds = written["features"]["kind"] == "embedding"
    effective = load_config(preset, [f"features.model={tiny_model}"] if embeds else []).model_dump(mode="json")
    if embeds:
        effective["features"]["model"] = ""  # a name stands in the file for all that its description says
    assert _paths(effective) == _paths(written)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_preset_header_tells_command_and_hardware(preset: Path) -> None:
    header = preset.read_text().split("\ndata:")[0]
    assert f"birdclef run configs/{preset.name}" in header
    assert "Hardware:" in header


def test_shown_config_loads_to_the_same_experiment(tmp_path: Path) -> None:
    config = load_config(CONFIGS / "demo.yaml", ["split.seed=7"])
    shown = tmp_path / "shown.yaml"
    shown.write_text(dump_config(config))
    assert load_config(shown) == config


def test_override_sets_a_nested_value() -> None:
    config = load_config(CONFIGS / "demo.yaml", ["train.cnn.objective.temperature=0.07"])
    assert config.train["cnn"].objective.temperature == 0.07


def test_star_overrides_every_member() -> None:
    config = load_config(CONFIGS / "ensemble.yaml", ["train.*.learning_rate=0.5"])
    assert len(config.train) > 1
    assert {member.learning_rate for member in config.train.values()} == {0.5}


def test_override_does_not_leak_into_aliased_sections() -> None:
    """YAML anchors share one object; a change for one member must not reach another."""
    members = sorted(load_config(CONFIGS / "ensemble.yaml").train)
    config = load_config(CONFIGS / "ensemble.yaml", [f"train.{members[0]}.augment.gain_db=1.5"])
    assert config.train[members[0]].augment.gain_db == 1.5
    assert config.train[members[1]].augment.gain_db != 1.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.cnn.learning_rat=1", r"train\.cnn\.learning_rat: Extra inputs"),
        ("features.n_mels=-3", r"features\.n_mels: Input should be greater than 0 \(got -3\)"),
        ("nonsense", "not of the form section.key=value"),
        ("data.root.deeper=1", "is not a section"),
        ("train.cnn.augment.mixup_alpha=0.4", "needs soft labels"),
        ("features.fmax=20000", "fmin < fmax <= sample_rate / 2"),
        ("data.root=[", "is not valid YAML"),
        ("train.cnn.folds=[9]", r"train\.cnn\.folds=\[9\] must name folds from 0 to 2 \(split\.folds=3\)"),
        ("train.*.folds=[]", r"train\.cnn\.folds=\[\] must name folds .*set it to null for all"),
        ("train.cnn.folds=[0, 0]", r"train\.cnn\.folds=\[0, 0\] must name .* each once"),
    ],
)
def test_wrong_override_is_refused_with_its_path(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(CONFIGS / "demo.yaml", [override])


def test_members_of_other_folds_are_refused() -> None:
    path = CONFIGS / "ensemble.yaml"
    first, second = load_config(path, ["train.*.folds=[1, 0]"]).train
    load_config(path, [f"train.{first}.folds=[1, 0]", f"train.{second}.folds=[0, 1]"])
    with pytest.raises(ValueError, match=rf"train\.{second} has the folds \[0, 1, 2, 3, 4\], but train\.{first} \[0\]"):
        load_config(path, [f"train.{first}.folds=[0]"])


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("evaluate.ensemble=fitted", None),
        ("evaluate.ensemble=rank", r"evaluate\.ensemble=rank needs all recordings at once"),
        (
            "train.resnet50.clip_seconds=2.5",
            r"clip_seconds differs among members \(.*resnet50 2\.5.*\): give all the same",
        ),
    ],
)
def test_experiment_tells_why_its_report_will_not_predict(override: str, reason: str | None) -> None:
    told = load_config(CONFIGS / "ensemble.yaml", [override]).why_no_prediction()
    assert told is None if reason is None else re.search(reason, told or "")


def test_unknown_section_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="trian: Extra inputs"):
        load_config(_write(tmp_path / "c.yaml", trian={}))


def test_missing_file_lists_what_is_there(tmp_path: Path) -> None:
    _write(tmp_path / "known.yaml")
    with pytest.raises(FileNotFoundError, match=r"known\.yaml"):
        load_config(tmp_path / "unknown.yaml")


@pytest.mark.parametrize("text", ["- a\n- b\n", "", "data: [unclosed"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=str(path)):
        load_config(path)


def test_every_field_has_a_line_of_documentation() -> None:
    for section in _sections(ExperimentConfig):
        for name, field in section.model_fields.items():
            assert field.description or _is_section(field.annotation), f"{section.__name__}.{name} has no description"


def _sections(section: type[ConfigSection]) -> list[type[ConfigSection]]:
    found = [section]
    for field in section.model_fields.values():
        for annotation in _unfold(field.annotation):
            if _is_section(annotation):
                found += _sections(annotation)
    return found


def _unfold(annotation: object) -> list[object]:
    """Returns an annotation and all that it is made of: members of a union, values of a mapping."""
    return [annotation, *(inner for part in get_args(annotation) for inner in _unfold(part))]


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, ConfigSection)


def _paths(tree: object, prefix: str = "") -> set[str]:
    if not isinstance(tree, dict):
        return {prefix}
    return {path for key, value in tree.items() for path in _paths(value, f"{prefix}.{key}")}


def test_grid_is_every_combination_and_a_list_that_its_field_takes_is_one_value() -> None:
    grid = expand_grid(
        CONFIGS / "demo.yaml",
        ["train.*.objective.temperature=[0.05,0.1]", "predict.shift_seconds=[0.0,1.0]", "split.folds=[2,3]"],
    )
    assert grid == [
        {"train.*.objective.temperature": temperature, "predict.shift_seconds": [0.0, 1.0], "split.folds": folds}
        for temperature in (0.05, 0.1)
        for folds in (2, 3)
    ]
    assert as_overrides(grid[1]) == [
        "train.*.objective.temperature=0.05",
        "predict.shift_seconds=[0.0, 1.0]",
        "split.folds=3",
    ]


def test_list_that_fits_only_with_another_value_of_the_grid_is_one_value() -> None:
    grid = expand_grid(CONFIGS / "demo.yaml", ["split.folds=[5,6]", "train.*.folds=[4]"])
    assert grid == [{"split.folds": folds, "train.*.folds": [4]} for folds in (5, 6)]


def test_grid_with_a_wrong_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"split\.folds: Input should be greater than or equal to 2 \(got 1\)"):
        expand_grid(CONFIGS / "demo.yaml", ["split.folds=[2,1]"])


def test_arms_are_the_experiment_with_another_objective() -> None:
    arms = load_arms(CONFIGS / "demo.yaml", ["split.folds=2"], ())
    assert list(arms) == list(ARMS)
    objectives = {name: next(iter(arm.train.values())).objective for name, arm in arms.items()}
    assert {name: (each.kind, each.contrast, each.logit_adjustment) for name, each in objectives.items()} == {
        "ce": ("ce", "supcon", 0.0),
        "ce-adjusted": ("ce", "supcon", 1.0),
        "supcon": ("supcon", "supcon", 0.0),
        "joint": ("joint", "supcon", 0.0),
        "joint-adjusted": ("joint", "supcon", 1.0),
        "balanced": ("joint", "balanced", 0.0),
        "balanced-adjusted": ("joint", "balanced", 1.0),
        "prototype": ("joint", "prototype", 0.0),
        "parametric": ("joint", "parametric", 0.0),
        "soft": ("joint", "soft", 0.0),
    }
    assert all(arm.split.folds == 2 for arm in arms.values())


def test_the_reference_is_always_an_arm_and_others_are_given_with_their_settings() -> None:
    arms = load_arms(CONFIGS / "demo.yaml", (), ["soft", "many recordings_per_species=4 objective.temperature=0.2"])
    assert list(arms) == ["ce", "soft", "many"]
    many = next(iter(arms["many"].train.values()))
    assert (many.recordings_per_species, many.objective.temperature, many.objective.kind) == (4, 0.2, "joint")


@pytest.mark.parametrize(
    ("preset", "arm", "message"),
    [
        ("demo", "sift", "There is no arm 'sift'"),
        ("demo", "odd objective.temperature=-1", "objective.temperature"),
        ("demo", "odd temprature=1", "temprature"),
        ("ensemble", "resnet50 seed=1", "has the name of a member"),
    ],
)
def test_a_wrong_arm_is_refused(preset: str, arm: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_arms(CONFIGS / f"{preset}.yaml", (), [arm])
