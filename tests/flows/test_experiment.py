"""Configurations: the shipped ones load, wrong ones are refused with the key's path."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml

from birdclef.comparison.arms import ARMS
from cache.config.section import ConfigSection
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace
from flows.configuration.overrides import as_overrides
from flows.experiment import ExperimentConfig, expand_grid, load_arms, load_config, show_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PRESETS = sorted(CONFIGS.rglob("*.yaml"))


def _write(path: Path, **sections: object) -> Path:
    path.write_text(yaml.safe_dump({"data": {"root": "d"}, "train": {"cnn": {}}, **sections}))
    return path


def test_the_promised_presets_exist() -> None:
    assert {path.name for path in PRESETS} >= {
        "demo.yaml",
        "small.yaml",
        "small-from-scratch.yaml",
        "baseline.yaml",
        "seed.yaml",
        "ensemble.yaml",
        "embeddings.yaml",
        "fusion.yaml",
    }


def _own(preset: Path, tiny_model: Path) -> list[str]:
    """Returns the overrides by which a preset loads without BirdNET's files."""
    return [f"features.model={tiny_model}"] if "birdnet" in preset.read_text() else []


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_preset_holds_only_what_makes_it_that_preset(preset: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Without any one of its values it is refused, or another experiment; none repeats a default.

    A model of embeddings is an override here, so that no file of BirdNET is needed.
    """
    own = _own(preset, tiny_model)
    written, effective = yaml.safe_load(preset.read_text()), load_config(preset, own)
    for keys in _leaves(written):
        tree = copy.deepcopy(written)
        section = tree
        for key in keys[:-1]:
            section = section[key]
        del section[keys[-1]]
        less = tmp_path / "less.yaml"
        less.write_text(yaml.safe_dump(tree, sort_keys=False))
        try:
            assert keys == ("features", "model") or load_config(less, own) != effective, keys
        except ValueError:
            continue


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_preset_is_short_and_in_stage_order(preset: Path) -> None:
    assert len(preset.read_text().splitlines()) <= 40
    sections = list(yaml.safe_load(preset.read_text()))
    assert sections == [name for name in ExperimentConfig.model_fields if name in sections]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_preset_header_tells_command_hardware_time_and_score(preset: Path) -> None:
    header = preset.read_text().split("\ndata:")[0]
    assert f"birdclef run {preset.stem}" in header
    assert "Hardware:" in header
    assert "macro-F1" in header
    assert re.search(r"\d (min|s)\b|Wall\s#?\s?time and macro-F1 .* are not measured yet", " ".join(header.split()))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_shown_preset_is_complete_and_gives_the_same_experiment(preset: Path, tiny_model: Path, tmp_path: Path) -> None:
    own = [*_own(preset, tiny_model), "promote.margin=0.123"]
    shown = tmp_path / "shown.yaml"
    shown.write_text(show_config(preset, own))
    config = load_config(preset, own)
    assert load_config(shown) == config
    assert list(_leaves(yaml.safe_load(shown.read_text()))) == list(_leaves(config.model_dump(mode="json")))


def test_network_of_fusion_is_that_of_small_on_longer_crops(tiny_model: Path) -> None:
    small = load_config(Path("small")).train["cnn"]
    fusion = load_config(Path("fusion"), [f"features.model={tiny_model}"]).train["cnn"]
    assert fusion == small.model_copy(update={"clip_seconds": fusion.clip_seconds})


@pytest.mark.parametrize("preset", ["small", "small-from-scratch"])
def test_presets_of_a_few_hundred_recordings_differ_in_their_weights_and_train_until_the_loss_is_flat(
    preset: str,
) -> None:
    member = load_config(Path(preset)).train["cnn"]
    assert member.model.weights == ("hub" if preset == "small" else "none")
    assert member.epochs == "auto"


def test_shown_value_tells_where_it_comes_from() -> None:
    shown = show_config(
        Path("small"), ["train.*.views=3", "features={hop_length: 256}", "train.cnn.epochs=auto", "split.seed=42"]
    )
    origin = dict(re.findall(r"^ *(\w+: \S.*?) +# (.*)$", shown, re.MULTILINE))
    assert origin["backbone: tf_efficientnet_lite0.in1k"] == "small.yaml"
    assert origin["shift_seconds: [-1.25, 0.0, 1.25]"] == "small.yaml"
    assert origin["views: 3"] == "override"
    assert origin["epochs: auto"] == "override"  # though small.yaml says so as well
    assert origin["hop_length: 256"] == "override"
    assert origin["n_mels: 128"] == "default"  # for the override replaced the whole section
    assert origin["seed: 42"] == "override"
    assert origin["clip_seconds: 5.0"] == "default"
    assert origin["member_features: {}"] == "default"
    commented = [line for line in shown.splitlines() if not line.endswith(":")]
    assert len({line.index("# ") for line in commented}) == 1


def test_values_of_a_description_come_from_its_file(tiny_model: Path) -> None:
    shown = show_config(CONFIGS / "embeddings.yaml", [f"features.model={tiny_model}"])
    assert re.search(r"^    name: Tiny +# tiny\.yaml$", shown, re.MULTILINE)
    assert re.search(r"^  kind: embedding +# embeddings\.yaml$", shown, re.MULTILINE)


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
        ("train.cnn.learning_rat=1", r"train\.cnn\.learning_rat: there is no such key; did you mean learning_rate\?$"),
        ("train.cnn.epoch=1", r"train\.cnn\.epoch: there is no such key; did you mean epochs\?$"),
        ("train.cnn.objective.temprature=1", r"objective\.temprature: there is .*; did you mean temperature\?$"),
        ("train.cnn.augment.gain_bd=1", r"augment\.gain_bd: there is no such key; did you mean gain_db\?$"),
        ("features.hop_lenght=512", r"features\.hop_lenght: there is no such key; did you mean hop_length\?$"),
        ("predct.gain_db=[0]", r"predct: there is no such key; did you mean predict\?$"),
        ("split.xyz=1", r"split\.xyz: there is no such key\.$"),
        ("train.cn.epochs=1", r"train has no member 'cn'; did you mean cnn\? Members: cnn\."),
        ("features.n_mels=-3", r"features\.n_mels: Input should be greater than 0 \(got -3\)"),
        ("features.n_mels=1000000", r"features\.n_mels: Input should be less than or equal to 1024 \(got 1000000\)"),
        (
            "features.n_fft=99999999999999999999",
            r"features\.n_fft: Input should be less than or equal to 32768 \(got 9",
        ),
        (
            "split.folds=99999999999999999999",
            r"split\.folds: Input should be a whole number from 2 to 1000, or auto \(g",
        ),
        ("split.test_share=1e-320", r"split: test_share=1e-320 is too small\. Set 0 .*, or 0\.001 \(1/1000\) or more"),
        ("train.cnn.epochs=99999999999999999999", r"epochs: Input should be a whole number from 1 to 1000000, or auto"),
        ("train.cnn.clip_seconds=1e-9", r"clip_seconds: Input should be greater than or equal to 0\.01 \(got '1e-9'\)"),
        ("predict.stride_seconds=1e-9", r"predict\.stride_seconds: Input should be greater than or equal to 0\.01"),
        ("nonsense", "must have the form section.key=value"),
        ("data.root.deeper=1", "is not a section"),
        ("train.cnn.augment.mixup_alpha=0.4", "needs soft labels"),
        ("features.fmax=20000", "fmin < fmax <= sample_rate / 2"),
        ("split.folds=[", "is not valid YAML"),
        (
            "train.cnn.folds=[9]",
            r"train\.cnn\.folds=\[9\] must name at least one fold from 0 to 2, .*\(split\.folds=3\)",
        ),
        ("train.*.folds=[]", r"train\.cnn\.folds=\[\] must name at least one fold .* Set train\.cnn\.folds=null"),
        ("train.cnn.folds=[0, 0]", r"train\.cnn\.folds=\[0, 0\] must name .* each fold once"),
    ],
)
def test_wrong_override_is_refused_with_its_path(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(CONFIGS / "demo.yaml", [override])


def list_numbers(schema: object, place: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yields path and rules of each number in a JSON schema."""
    parts = list(enumerate(schema)) if isinstance(schema, list) else []
    if isinstance(schema, dict):
        parts = list(schema.items())
        if schema.get("type") in ("integer", "number"):
            yield place, schema
    for name, part in parts:
        yield from list_numbers(part, f"{place}/{name}")


def test_each_number_has_a_lowest_and_a_highest_value() -> None:
    bounds = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
    numbers = list(list_numbers(ExperimentConfig.model_json_schema(), ""))
    assert [place for place, rules in numbers if not all(bound & rules.keys() for bound in bounds)] == []
    assert len(numbers) > 100


def test_unknown_key_of_embeddings_is_told_a_key_of_embeddings(tiny_model: Path) -> None:
    model = f"features.model={tiny_model}"
    with pytest.raises(ValueError, match=r"train\.head\.augment\.noise_shar: .* did you mean noise_share\?$"):
        load_config(CONFIGS / "embeddings.yaml", [model, "train.head.augment.noise_shar=1"])
    with pytest.raises(ValueError, match=r"member_features\.cnn\.n_mel: .* did you mean n_mels\?$"):
        load_config(CONFIGS / "fusion.yaml", [model, "member_features.cnn.n_mel=32"])


def test_several_problems_are_a_line_each() -> None:
    with pytest.raises(ValueError, match=r"^demo does not describe a valid experiment:\n  split\.folds: .*\n  train\."):
        load_config(Path("demo"), ["split.folds=1", "train.cnn.views=0"])


def test_member_that_an_override_gives_whole_is_added() -> None:
    config = load_config(Path("demo"), ["train.other={model: {backbone: resnet18}}", "train.other.epochs=3"])
    assert {name: member.model.backbone for name, member in config.train.items()} == {
        "cnn": "test_resnet",
        "other": "resnet18",
    }
    assert config.train["other"].epochs == 3


def test_automatic_number_of_folds_becomes_that_of_the_split(tmp_path: Path) -> None:
    experiment = load_config(Path("demo"), ["split.folds=auto", "train.cnn.folds=[0, 3]"])
    with pytest.raises(ValueError, match=r"folds=\[5\] must name at least one fold from 0 to 4, .*folds=auto"):
        load_config(Path("demo"), ["split.folds=auto", "train.cnn.folds=[5]"])

    def split_of(folds: int) -> Path:
        return Workspace(tmp_path).materialise(Recipe("splits", {"folds": folds}, {}, 1), lambda staging: None)

    assert experiment.with_folds(split_of(4)).split.folds == 4
    assert load_config(Path("demo"), ["split.folds=auto"]).with_folds(split_of(2)).folds_of("cnn") == (0, 1)
    with pytest.raises(ValueError, match=r"train\.cnn\.folds=\[0, 3\] must name .* from 0 to 2"):
        experiment.with_folds(split_of(3))


def test_automatic_number_of_given_folds_is_that_of_the_split(tmp_path: Path) -> None:
    experiment = load_config(Path("demo"), ["split.folds=auto", "split.fold_column=fold", "train.cnn.folds=[7]"])

    def split_of(folds: int) -> Path:
        return Workspace(tmp_path).materialise(Recipe("splits", {"folds": folds}, {}, 1), lambda staging: None)

    assert experiment.with_folds(split_of(8)).folds_of("cnn") == (7,)
    with pytest.raises(ValueError, match=r"train\.cnn\.folds=\[7\] must name at least one fold from 0 to 6"):
        experiment.with_folds(split_of(7))


def test_folds_of_members_are_compared_once_their_number_is_known(tmp_path: Path) -> None:
    path = CONFIGS / "ensemble.yaml"
    first, second = load_config(path, ["train.*.folds=[1, 0]"]).train
    experiment = load_config(path, ["split.folds=auto", f"train.{second}.folds=[0, 1]"])

    def split_of(folds: int) -> Path:
        return Workspace(tmp_path).materialise(Recipe("splits", {"folds": folds}, {}, 1), lambda staging: None)

    assert experiment.with_folds(split_of(2)).folds_of(first) == (0, 1)
    with pytest.raises(
        ValueError, match=rf"train\.{second} has the folds \[0, 1\], but train\.{first} has \[0, 1, 2\]"
    ):
        experiment.with_folds(split_of(3))
    with pytest.raises(ValueError, match=rf"train\.{second} has the folds \[0\], but train\.{first} has \[1\]"):
        load_config(path, ["split.folds=auto", f"train.{first}.folds=[1]", f"train.{second}.folds=[0]"])


def test_members_of_other_folds_are_refused() -> None:
    path = CONFIGS / "ensemble.yaml"
    first, second = load_config(path, ["train.*.folds=[1, 0]"]).train
    load_config(path, [f"train.{first}.folds=[1, 0]", f"train.{second}.folds=[0, 1]"])
    with pytest.raises(
        ValueError, match=rf"train\.{second} has the folds \[0, 1, 2, 3, 4\], but train\.{first} has \[0\]"
    ):
        load_config(path, [f"train.{first}.folds=[0]"])


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("evaluate.ensemble=fitted", None),
        ("evaluate.ensemble=rank", r"evaluate\.ensemble=rank needs all recordings at once"),
        (
            "train.resnet50.clip_seconds=2.5",
            r"clip_seconds differs among members \(.*resnet50 2\.5.*\); set the same value",
        ),
    ],
)
def test_experiment_tells_why_its_report_will_not_predict(override: str, reason: str | None) -> None:
    told = load_config(CONFIGS / "ensemble.yaml", [override]).why_no_prediction()
    assert told is None if reason is None else re.search(reason, told or "")


def test_unknown_section_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trian: there is no such key; did you mean train\?$"):
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


def _leaves(tree: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(tree, dict) or not tree:
        yield keys
        return
    for key, value in tree.items():
        yield from _leaves(value, (*keys, key))


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
    with pytest.raises(
        ValueError, match=r"split\.folds: Input should be a whole number from 2 to 1000, or auto \(got 1\)"
    ):
        expand_grid(CONFIGS / "demo.yaml", ["split.folds=[2,1]"])


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ("data.root=[a", r"^Override 'data\.root=\[a': '\[a' is not valid YAML \(line 1\)"),
        ("split.folds", "must have the form section.key=value"),
        ("split.folds=[]", r"The list of split\.folds is empty: give at least one value"),
        ("predict.shift_seconds=[]", r"The list of predict\.shift_seconds is empty"),
    ],
)
def test_malformed_grid_is_told_as_a_malformed_override(grid: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        expand_grid(CONFIGS / "demo.yaml", [grid])


def test_number_in_quotes_names_a_member(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("data: {root: d}\ntrain: {1: {}}\n")
    with pytest.raises(ValueError, match=r"c\.yaml, line 2: the key '1' is not text\. Write it in quotes"):
        load_config(path, ["train.cnn.epochs=1"])
    path.write_text("data: {root: d}\ntrain: {'1': {}}\n")
    assert load_config(path, ["train.1.epochs=7"]).train["1"].epochs == 7


def test_arms_are_the_experiment_with_another_objective() -> None:
    arms = load_arms(CONFIGS / "demo.yaml", ["split.folds=2"], ())
    assert list(arms) == list(ARMS)
    objectives = {name: next(iter(arm.train.values())).objective for name, arm in arms.items()}
    found = {name: (each.kind, each.contrast, each.logit_adjustment) for name, each in objectives.items()}
    expected = {
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
    assert expected.items() <= found.items()  # every further kind of contrast is an arm, too
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
        ("ensemble", "resnet50 model.dropout=0.1", "has the name of a member"),
    ],
)
def test_a_wrong_arm_is_refused(preset: str, arm: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_arms(CONFIGS / f"{preset}.yaml", (), [arm])


@pytest.mark.parametrize(("member", "role"), [("ce", ", which all arms are compared with, "), ("joint", " ")])
def test_a_member_with_the_name_of_a_known_arm_is_refused(member: str, role: str, tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(f"data: {{root: d}}\ntrain: {{net: {{}}, {member}: {{seed: 1}}}}\n")
    message = f"The arm '{member}'{role}has the name of a member of {path}. Choose another name for the member."
    for arms in ([], ["joint", "supcon"]):
        with pytest.raises(ValueError, match=re.escape(message)):
            load_arms(path, (), arms)


def test_arms_whose_epochs_are_chosen_by_the_compared_score_are_refused() -> None:
    with pytest.raises(ValueError, match=r"train\.cnn\.select=best chooses .* Set train\.cnn\.select=last"):
        load_arms(CONFIGS / "demo.yaml", ["train.*.select=best"], ["ce-adjusted"])


def test_two_arms_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="Two arms have the name 'wide'"):
        load_arms(CONFIGS / "demo.yaml", (), ["wide model.dropout=0.1", "wide model.dropout=0.2"])
