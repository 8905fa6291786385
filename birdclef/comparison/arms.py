"""Arms and trials of a comparison of objectives.

An arm is one objective. All arms are trained at equal cost and compared with the reference, which is cross-entropy.
The other members of the experiment are companions: they are trained as configured, and fused with every arm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from birdclef.config.objective import ContrastKind
from birdclef.config.train import TrainConfig

REFERENCE = "ce"
"""Name of the arm that all arms are compared with."""

_PLAIN, _ADJUSTED = "objective.logit_adjustment=0", "objective.logit_adjustment=1"

ARMS: dict[str, tuple[str, ...]] = {
    REFERENCE: ("objective.kind=ce", _PLAIN),
    "ce-adjusted": ("objective.kind=ce", _ADJUSTED),
    "supcon": ("objective.kind=supcon", "objective.contrast=supcon", _PLAIN),
    "joint": ("objective.kind=joint", "objective.contrast=supcon", _PLAIN),
    "joint-adjusted": ("objective.kind=joint", "objective.contrast=supcon", _ADJUSTED),
    "balanced-adjusted": ("objective.kind=joint", "objective.contrast=balanced", _ADJUSTED),
    **{
        contrast: ("objective.kind=joint", f"objective.contrast={contrast}", _PLAIN)
        for contrast in get_args(ContrastKind)
        if contrast != "supcon"  # `joint` is this arm
    },
}
"""Name of each arm to the settings that it changes in the member."""


@dataclass(frozen=True)
class Trial:
    """One arm trained on all folds, with one budget and one seed.

    Attributes:
        arm: Name of the arm.
        epochs: Budget, in epochs of the reference.
        seed: Seed of weights, batches and augmentation.
        config: Settings of the training.
    """

    arm: str
    epochs: int
    seed: int
    config: TrainConfig


def plan_trials(
    arms: Mapping[str, TrainConfig], budgets: Sequence[int], seeds: int, companions: Mapping[str, TrainConfig]
) -> list[Trial]:
    """Returns a trial for every arm or companion, budget and seed; the budget does not change a companion's training.

    Args:
        arms: Settings of each arm by name; the reference must be among them.
        budgets: Budgets in epochs of the reference. Empty: half of its configured epochs, and all of them.
        seeds: Number of seeds; they count up from the seed of the reference.
        companions: Settings of the other members by name.
    """
    reference = arms[REFERENCE]
    chosen = sorted(set(budgets)) or sorted({max(1, fixed_epochs(reference) // 2), fixed_epochs(reference)})
    return [
        Trial(name, epochs, seed, config.model_copy(update={"seed": seed}))
        for epochs in chosen
        for name, config in [
            *((name, spend(config, epochs, reference.views)) for name, config in arms.items()),
            *companions.items(),
        ]
        for seed in range(reference.seed, reference.seed + seeds)
    ]


def fixed_epochs(config: TrainConfig) -> int:
    """Returns the epochs of an arm; `auto`, which would give each arm another number, becomes `max_epochs`."""
    return config.max_epochs if config.epochs == "auto" else config.epochs


def spend(config: TrainConfig, epochs: int, views: int) -> TrainConfig:
    """Returns a member's settings with as many epochs as the budget allows.

    The model then sees as many views as in `epochs` epochs of `views` views per recording. The classifier of `supcon`
    gets its configured share of the epochs.

    Args:
        config: Settings of the member.
        epochs: Budget, in epochs of the reference.
        views: Views per recording of the reference.
    """
    total = max(1, round(epochs * views / config.views))
    objective = config.objective
    if objective.kind != "supcon":
        return config.model_copy(update={"epochs": total})
    share = objective.classifier_epochs / (fixed_epochs(config) + objective.classifier_epochs)
    classifier = max(1, round(total * share))
    return config.model_copy(
        update={
            "epochs": max(1, total - classifier),
            "objective": objective.model_copy(update={"classifier_epochs": classifier}),
        }
    )
