"""Types of the fields of `report.json` that are read again; birdclef/report/templates/report.schema.json has all."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from birdclef.config.evaluate import EnsembleMethod
from cache.config.section import Probability

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]


class Interval(TypedDict, total=False):
    """A value with its interval."""

    value: _Finite | None
    low: _Finite | None
    high: _Finite | None


class Estimate(Interval, total=False):
    """A metric with its interval, and its value at chance level."""

    chance: _Finite | None


class SpeciesScores(TypedDict, total=False):
    """Scores of one species."""

    label: str
    scientific_name: str
    common_name: str
    f1: _Finite | None
    threshold: Probability


class Member(TypedDict, total=False):
    """A member of the ensemble."""

    name: str


class Ensemble(TypedDict, total=False):
    """How the members are combined."""

    method: EnsembleMethod
    weights: dict[str, Probability]


class Calibration(TypedDict, total=False):
    """What new recordings are calibrated with."""

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SplitSettings(TypedDict, total=False):
    """Settings of the split."""

    group_by: str
    fold_column: str | None


class SplitArtefact(TypedDict, total=False):
    """The split behind the report."""

    key: str
    config: SplitSettings


class RunSettings(TypedDict, total=False):
    """Settings of a run."""

    select: Literal["last", "best"]


class RunArtefact(TypedDict, total=False):
    """A run behind the report."""

    key: str
    config: RunSettings


class Lineage(TypedDict, total=False):
    """Artefacts behind the report."""

    split: SplitArtefact
    runs: list[RunArtefact]


class Leak(TypedDict, total=False):
    """Leaks that the split counted."""

    leaking_share: Probability


class SplitReport(TypedDict, total=False):
    """Report of the split."""

    leak: Leak


class Coverage(TypedDict, total=False):
    """What was scored."""

    recordings_scored: _Count


class Rival(TypedDict, total=False):
    """What the members are compared with."""

    kind: Literal["chance", "baseline", "own_labels"]
    name: str
    complete: bool
    macro_f1: _Finite
    members_macro_f1: _Finite
    lead: Interval
    sentence: str


class Verdict(TypedDict, total=False):
    """Whether training paid."""

    outcome: str
    sentence: str
    advice: str | None
    rivals: list[Rival]


class Baseline(TypedDict, total=False):
    """A simple classifier on the same folds."""

    name: str
    metrics: dict[str, Any]


class Report(TypedDict, total=False):
    """Content of `report.json`."""

    key: str
    command: str
    confidence: Probability
    metrics: dict[str, Estimate]
    per_species: list[SpeciesScores]
    members: list[Member]
    ensemble: Ensemble
    calibration: Calibration
    coverage: Coverage
    split: SplitReport
    lineage: Lineage
    verdict: Verdict
    baseline: Baseline
    species_without_recordings: list[str]
