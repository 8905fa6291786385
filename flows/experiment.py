"""One experiment: the sections of all stages, read from one complete YAML plus `section.key=value` overrides."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from birdclef.comparison.arms import ARMS, REFERENCE
from birdclef.config.evaluate import EvaluateConfig
from birdclef.config.feature_kind import check_member, check_views
from birdclef.config.predict import PredictConfig
from birdclef.config.promote import PromoteConfig
from birdclef.config.train import TrainConfig
from cache.config.data import DataConfig
from cache.config.features import FEATURE_KINDS, EmbeddingConfig, FeatureConfig, LogMelConfig
from cache.config.section import ConfigSection
from cache.config.split import SplitConfig

MemberName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ExperimentConfig(ConfigSection):
    """Everything that one run of the pipeline needs to know."""

    data: DataConfig
    features: FeatureConfig = LogMelConfig()
    """Log-mel, or embeddings; the split is made from its catalogue."""
    member_features: dict[MemberName, FeatureConfig] = Field(default_factory=dict)
    """Other features of the same recordings, for members by name; all others read `features`."""
    split: SplitConfig = SplitConfig()
    train: dict[MemberName, TrainConfig] = Field(min_length=1)
    """Members of the ensemble by name."""
    predict: PredictConfig = PredictConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    promote: PromoteConfig = PromoteConfig()

    @model_validator(mode="after")
    def _check_members(self) -> Self:
        if unknown := sorted(self.member_features.keys() - self.train.keys()):
            raise ValueError(f"member_features names {unknown[0]!r}, but train has {', '.join(self.train)}.")
        for name, member in self.train.items():
            features = self.features_of(name)
            try:
                check_member(member, features)
                check_views(self.predict, features)
            except ValueError as error:
                raise ValueError(f"train.{name}: {error}") from error
            self._check_folds(name)
        return self

    def _check_folds(self, name: str) -> None:
        folds = self.folds_of(name)
        if not folds or len(set(folds)) < len(folds) or max(folds) >= self.split.folds:
            raise ValueError(
                f"train.{name}.folds={list(folds)} must name folds from 0 to {self.split.folds - 1} (split.folds="
                f"{self.split.folds}), at least one and each once. Correct it, or set it to null for all."
            )
        first = next(iter(self.train))
        if set(folds) != set(self.folds_of(first)):
            raise ValueError(
                f"train.{name} has the folds {list(folds)}, but train.{first} {list(self.folds_of(first))}: members "
                "are scored on the same recordings. Give all the same, as with 'train.*.folds=[0]'."
            )

    def features_of(self, member: str) -> LogMelConfig | EmbeddingConfig:
        """Returns the features that a member reads."""
        return self.member_features.get(member, self.features)

    def folds_of(self, member: str) -> tuple[int, ...]:
        """Returns the validation folds that a member is trained for."""
        folds = self.train[member].folds
        return tuple(range(self.split.folds)) if folds is None else folds

    def why_no_prediction(self) -> str | None:
        """Returns why the experiment's report will not predict new recordings; None: it will."""
        if self.evaluate.ensemble == "rank":
            return "evaluate.ensemble=rank needs all recordings at once: take mean, geometric, rms or fitted"
        lengths = {name: member.clip_seconds for name, member in self.train.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {seconds:g}" for name, seconds in lengths.items())
            return f"clip_seconds differs among members ({listed}): give all the same"
        return None


def load_config(path: Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Returns the experiment of a YAML file with overrides applied.

    Args:
        path: YAML file.
        overrides: `section.key=value` with the value in YAML; `*` stands for every key at its level.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the YAML, an override or a value is wrong; the message names each key's path.
    """
    if not path.is_file():
        known = ", ".join(str(preset) for preset in sorted(path.parent.glob("*.yaml"))) or "none beside it"
        raise FileNotFoundError(f"{path}: no such configuration. Configurations there: {known}.")
    try:
        tree = _unshare(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError(f"{path} must hold sections such as `data:` and `train:`, not {type(tree).__name__}.")
    for override in overrides:
        _apply(tree, override)
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        problems = "\n".join(
            _tell_problem(problem["loc"], problem["msg"], problem["input"]) for problem in error.errors()
        )
        raise ValueError(f"{path} does not describe a valid experiment:\n{problems}") from error


def _tell_problem(steps: Iterable[str | int], message: str, value: Any) -> str:
    """Returns what is wrong with a key and its value; of a section only what the message names, for it is long."""
    given = "" if isinstance(value, Mapping) else f" (got {value!r})"
    return f"  {_name_key(steps) or 'experiment'}: {message}{given}"


def _name_key(steps: Iterable[str | int]) -> str:
    """Returns the path of a key; which kind of features pydantic took its section for is no step of it."""
    return ".".join(str(step) for step in steps if step not in FEATURE_KINDS)


def expand_grid(path: Path, overrides: Iterable[str]) -> list[dict[str, Any]]:
    """Returns every combination of values, by `section.key`; a list stands for alternatives.

    A list that its field takes as it is, such as `predict.shift_seconds=[0, 1]`, is one value.

    Args:
        path: YAML file of the experiment.
        overrides: `section.key=[value, value]`.

    Raises:
        FileNotFoundError, ValueError: As `load_config`, for any of the combinations.
    """
    alternatives: dict[str, list[Any]] = {}
    for override in overrides:
        key, _, text = override.partition("=")
        value = yaml.safe_load(text)
        alternatives[key] = value if isinstance(value, list) and not _is_valid(path, override) else [value]
    combinations = [dict(zip(alternatives, values, strict=True)) for values in product(*alternatives.values())]
    for combination in combinations:
        load_config(path, as_overrides(combination))
    return combinations


def load_arms(path: Path, overrides: Iterable[str], arms: Iterable[str]) -> dict[str, ExperimentConfig]:
    """Returns the experiment of each arm of a comparison by name, the reference first.

    Args:
        path: YAML file of an experiment; the arms are of its first member.
        overrides: Of all arms.
        arms: Names in `comparison.arms.ARMS`, or `NAME key=value key=value` with settings of the member;
            none: all known.

    Raises:
        FileNotFoundError, ValueError: As `load_config`, for any of them; or if an arm is unknown.
    """
    common = list(overrides)
    member, *companions = load_config(path, common).train
    chosen: dict[str, Sequence[str]] = {REFERENCE: ARMS[REFERENCE]}
    for arm in arms or ARMS:
        name, *settings = arm.split()
        if not settings and name not in ARMS:
            raise ValueError(
                f"There is no arm {name!r}. Known: {', '.join(ARMS)}. Others are given with their settings: "
                f"'{name} objective.temperature=0.2'."
            )
        if name in companions:
            raise ValueError(f"The arm {name!r} has the name of a member of {path}, which is held beside the arms.")
        chosen[name] = settings or ARMS[name]
    return {
        name: load_config(path, [*common, *(f"train.{member}.{setting}" for setting in settings)])
        for name, settings in chosen.items()
    }


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Returns settings by `section.key` as `load_config` takes them."""
    return [
        f"{key}={yaml.safe_dump(value, default_flow_style=True).strip().removesuffix('...').strip()}"
        for key, value in settings.items()
    ]


def _is_valid(path: Path, override: str) -> bool:
    """Returns whether a field takes its value as it is, which may still not fit to other fields."""
    try:
        load_config(path, [override])
    except ValueError as error:
        cause = error.__cause__
        return isinstance(cause, ValidationError) and {each["type"] for each in cause.errors()} == {"value_error"}
    return True


def dump_config(config: ExperimentConfig) -> str:
    """Returns every effective value as YAML, in stage order."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _unshare(node: Any) -> Any:
    """Returns a copy in which sections that YAML anchors share are separate objects."""
    if isinstance(node, dict):
        return {key: _unshare(value) for key, value in node.items()}
    return node


def _apply(tree: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ValueError(f"Override {override!r} is not of the form section.key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"Override {override!r}: {text!r} is not valid YAML: {error}") from error
    *parents, leaf = dotted.split(".")
    nodes: list[Any] = [tree]
    for step in parents:
        nodes = [child for node in nodes for child in _children(node, step, override)]
    for node in nodes:
        node[leaf] = value


def _children(node: dict[str, Any], step: str, override: str) -> list[Any]:
    children = list(node.values()) if step == "*" else [node.setdefault(step, {})]
    if not children or not all(isinstance(child, dict) for child in children):
        raise ValueError(f"Override {override!r}: {step!r} is not a section that holds keys.")
    return children
