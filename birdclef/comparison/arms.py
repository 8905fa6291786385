"""The arms of a comparison: objectives that are trained at equal cost, and the one that all are held against.

Other members of the experiment are companions: trained as they are configured, and fused with every arm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from birdclef.config.train import TrainConfig

REFERENCE = "ce"

_PLAIN, _ADJUSTED = "objective.logit_adjustment=0", "objective.logit_adjustment=1"

ARMS: dict[str, tuple[str, ...]] = {
    REFERENCE: ("objective.kind=ce", _PLAIN),
    "ce-adjusted": ("objective.kind=ce", _ADJUSTED),
    "supcon": ("objective.kind=supcon", "objective.contrast=supcon", _PLAIN),
    "joint": ("objective.kind=joint", "objective.contrast=supcon", _PLAIN),
    "joint-adjusted": ("objective.kind=joint", "objective.contrast=supcon", _ADJUSTED),
    "balanced": ("objective.kind=joint", "objective.contrast=balanced", _PLAIN),
    "balanced-adjusted": ("objective.kind=joint", "objective.contrast=balanced", _ADJUSTED),
    "prototype": ("objective.kind=joint", "objective.contrast=prototype", _PLAIN),
    "parametric": ("objective.kind=joint", "objective.contrast=parametric", _PLAIN),
    "soft": ("objective.kind=joint", "objective.contrast=soft", _PLAIN),
}
"""Name of each arm to the settings of the member in which it differs."""


@dataclass(frozen=True)
class Trial:
    """One training of a comparison, over all folds.

    Attributes:
        arm: Name of the arm.
        epochs: Budget, in epochs of the reference.
        seed: Of weights, batches and augmentation.
        config: What is trained.
    """

    arm: str
    epochs: int
    seed: int
    config: TrainConfig


def plan_trials(
    arms: Mapping[str, TrainConfig], budgets: Sequence[int], seeds: int, companions: Mapping[str, TrainConfig]
) -> list[Trial]:
    """Returns every arm at every budget with every seed, and every companion beside them, whatever the budget.

    Args:
        arms: By name, the reference among them.
        budgets: Epochs of the reference; none: half of its configured epochs, and all of them.
        seeds: How many; they count up from the reference's own.
        companions: Other members, by name.
    """
    reference = arms[REFERENCE]
    chosen = sorted(set(budgets)) or sorted({max(1, reference.epochs // 2), reference.epochs})
    return [
        Trial(name, epochs, seed, config.model_copy(update={"seed": seed}))
        for epochs in chosen
        for name, config in [
            *((name, spend(config, epochs, reference.views)) for name, config in arms.items()),
            *companions.items(),
        ]
        for seed in range(reference.seed, reference.seed + seeds)
    ]


def spend(config: TrainConfig, epochs: int, views: int) -> TrainConfig:
    """Returns a member that lets as many views pass through the model as `epochs` epochs of `views` views do.

    The classifier of `supcon` gets its configured share of the epochs.
    """
    total = max(1, round(epochs * views / config.views))
    objective = config.objective
    if objective.kind != "supcon":
        return config.model_copy(update={"epochs": total})
    share = objective.classifier_epochs / (config.epochs + objective.classifier_epochs)
    classifier = max(1, round(total * share))
    return config.model_copy(
        update={
            "epochs": max(1, total - classifier),
            "objective": objective.model_copy(update={"classifier_epochs": classifier}),
        }
    )
