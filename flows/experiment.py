"""The configuration of an experiment: the settings of all stages, from a preset or a YAML file and overrides."""

import re
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from birdclef.comparison.arms import ARMS, REFERENCE, fixed_epochs
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.feature_kind import check_member, check_views
from birdclef.config.predict import PredictConfig
from birdclef.config.promote import PromoteConfig
from birdclef.config.train import TrainConfig
from cache.config.data import DataConfig
from cache.config.features import EmbeddingConfig, FeatureConfig, LogMelConfig
from cache.config.section import ConfigSection
from cache.config.split import SplitConfig
from cache.workspace.provenance import read_provenance
from flows.configuration.arms import read_arm
from flows.configuration.member_folds import check_folds
from flows.configuration.origins import show_origins
from flows.configuration.overrides import apply_overrides, as_overrides, parse_alternatives, read_tree
from flows.configuration.presets import find_config
from flows.configuration.problems import describe_problems


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(
            f"{name!r} cannot be the name of a member: use letters, digits, _ and - (a dot would separate keys)"
        )
    return name


MemberName = Annotated[str, AfterValidator(_check_name)]


class ExperimentConfig(ConfigSection):
    """All settings of one run of the pipeline."""

    data: DataConfig
    features: FeatureConfig = LogMelConfig()
    """Log-mel or embeddings. The split is made from the catalogue of these features."""
    member_features: dict[MemberName, FeatureConfig] = Field(default_factory=dict)
    """Other features for some members, by the member's name; every other member reads `features`."""
    split: SplitConfig = SplitConfig()
    train: dict[MemberName, TrainConfig] = Field(min_length=1)
    """Members of the ensemble, by name."""
    predict: PredictConfig = PredictConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    promote: PromoteConfig = PromoteConfig()

    @model_validator(mode="after")
    def _check_members(self) -> Self:
        if unknown := sorted(self.member_features.keys() - self.train.keys()):
            raise ValueError(f"member_features names {unknown[0]!r}, but train only has {', '.join(self.train)}.")
        for name, member in self.train.items():
            features = self.features_of(name)
            try:
                check_member(member, features)
                check_views(self.predict, features, member.model.normalisation)
            except ValueError as error:
                raise ValueError(f"train.{name}: {error}") from error
        check_folds(self.split, {name: member.folds for name, member in self.train.items()})
        return self

    def features_of(self, member: str) -> LogMelConfig | EmbeddingConfig:
        """Returns the features that a member reads."""
        return self.member_features.get(member, self.features)

    def reads_background(self, member: str) -> bool:
        """Returns whether a member is trained with the sounds of `data.background`, or with noisy copies."""
        features = self.features_of(member)
        exists = bool(self.data.background) and (features.kind == "log_mel" or features.background_variants > 0)
        return exists and self.train[member].augment.reads_folder

    def folds_of(self, member: str) -> tuple[int, ...]:
        """Returns the validation folds that a member is trained for.

        Raises:
            ValueError: If these are all folds, and their number is still `auto`; `with_folds` settles it.
        """
        folds = self.train[member].folds
        return tuple(range(self.split.fold_count)) if folds is None else folds

    def with_folds(self, split: Path) -> Self:
        """Returns the experiment with the number of folds of its split in place of `auto`.

        Args:
            split: Directory of the split.

        Raises:
            ValueError: If a member names a fold that the split does not have.
        """
        folds = read_provenance(split)["config"]["folds"]
        settled = self.model_copy(update={"split": self.split.model_copy(update={"folds": folds})})
        check_folds(settled.split, {name: member.folds for name, member in self.train.items()})
        return settled

    def why_no_prediction(self) -> str | None:
        """Returns why the experiment's report cannot predict new recordings; None if it can."""
        if self.evaluate.ensemble == "rank":
            return "evaluate.ensemble=rank needs all recordings at once: set it to mean, geometric, rms or fitted"
        lengths = {name: member.clip_seconds for name, member in self.train.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {seconds:g}" for name, seconds in lengths.items())
            return f"clip_seconds differs among members ({listed}); set the same value with 'train.*.clip_seconds'"
        return None


def load_config(config: Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Returns the experiment of a preset or a YAML file, with overrides applied and defaults filled in.

    Args:
        config: Name of a preset, or path of a YAML file.
        overrides: `section.key=value` as `parse_override` reads it; `*` stands for every key of a section.

    Raises:
        FileNotFoundError: If there is no such preset or file.
        ValueError: If the YAML, an override or a value is wrong; the message names the path of each wrong key.
    """
    path = find_config(config)
    tree = read_tree(path)
    apply_overrides(tree, overrides, ExperimentConfig)
    return _validate(tree, config)


def show_config(config: Path, overrides: Iterable[str] = ()) -> str:
    """Returns every effective value as YAML, in stage order, with its origin in a comment.

    Args:
        config: Name of a preset, or path of a YAML file.
        overrides: As in `load_config`.

    Raises:
        FileNotFoundError, ValueError: As `load_config`.
    """
    path = find_config(config)
    tree = read_tree(path)
    overridden = apply_overrides(tree, overrides, ExperimentConfig)
    return show_origins(_validate(tree, config).model_dump(mode="json"), tree, overridden, path.name)


def _validate(tree: dict[str, Any], config: Path) -> ExperimentConfig:
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        raise ValueError(describe_problems(error, ExperimentConfig, config)) from error


def expand_grid(config: Path, overrides: Iterable[str]) -> list[dict[str, Any]]:
    """Returns every combination of values, by `section.key`; a list holds the alternatives of one key.

    If the field itself takes a list, as in `predict.shift_seconds=[0, 1]`, the list is one value.

    Args:
        config: Name of a preset, or path of a YAML file.
        overrides: `section.key=[value, value]`.

    Raises:
        FileNotFoundError, ValueError: As `load_config`, for each combination.
    """
    alternatives: dict[str, list[Any]] = {}
    for override in overrides:
        key, value, listed = parse_alternatives(override, ExperimentConfig)
        several = listed or (isinstance(value, list) and not _is_valid(config, override))
        alternatives[key] = value if several else [value]
    if empty := [key for key, values in alternatives.items() if not values]:
        raise ValueError(f"The list of {empty[0]} is empty: give at least one value, such as '{empty[0]}=[VALUE]'.")
    combinations = [dict(zip(alternatives, values, strict=True)) for values in product(*alternatives.values())]
    for combination in combinations:
        load_config(config, as_overrides(combination))
    return combinations


def load_arms(config: Path, overrides: Iterable[str], arms: Iterable[str]) -> dict[str, ExperimentConfig]:
    """Returns the experiment of each arm of a comparison, by name; the reference is first.

    Args:
        config: Name of a preset, or path of a YAML file. The arms are variants of its first member.
        overrides: Settings of all arms, as in `load_config`.
        arms: Names in `comparison.arms.ARMS`, or `NAME key=value key=value` with settings of the
            member; empty for all known arms.

    Raises:
        FileNotFoundError, ValueError: As `load_config`, for each arm; or if an arm is unknown.
    """
    common = list(overrides)
    members = load_config(config, common).train
    member, *companions = members
    if chosen_by_score := [name for name, config in members.items() if config.select == "best"]:
        raise ValueError(
            f"train.{chosen_by_score[0]}.select=best chooses the epoch by the score that is compared, so all scores "
            f"would be too high. Set train.{chosen_by_score[0]}.select=last."
        )
    common.append(f"train.{member}.epochs={fixed_epochs(members[member])}")  # arms are compared at equal cost
    chosen: dict[str, Sequence[str]] = {REFERENCE: ARMS[REFERENCE]}
    for arm in arms or ARMS:
        name, settings = read_arm(arm)
        if settings and name in chosen:
            raise ValueError(f"Two arms have the name {name!r}. Give each its own.")
        chosen[name] = settings or ARMS[name]
    if taken := next((name for name in chosen if name in companions), None):
        role = ", which all arms are compared with," if taken == REFERENCE else ""
        renamed = "member" if taken in ARMS else "arm"
        raise ValueError(
            f"The arm {taken!r}{role} has the name of a member of {config}. Choose another name for the {renamed}."
        )
    return {
        name: load_config(config, [*common, *(f"train.{member}.{setting}" for setting in settings)])
        for name, settings in chosen.items()
    }


def _is_valid(config: Path, override: str) -> bool:
    """Returns whether a field accepts a value, even if the value does not fit to other fields."""
    try:
        load_config(config, [override])
    except ValueError as error:
        cause = error.__cause__
        return isinstance(cause, ValidationError) and {each["type"] for each in cause.errors()} == {"value_error"}
    return True
