"""Checks the validation folds that members are trained for."""

from collections.abc import Mapping

from cache.config.split import AUTO, MOST_FOLDS, SplitConfig


def check_folds(split: SplitConfig, folds: Mapping[str, tuple[int, ...] | None]) -> None:
    """Refuse folds that the split cannot have, or that differ among members, as far as it is known.

    Args:
        split: Settings of the split.
        folds: Folds of each member, by name; None: all folds.

    Raises:
        ValueError: If folds are wrong; the message names a value that works.
    """
    most = _most_folds(split)
    listed = {name: own for name, own in folds.items() if own is not None}
    for name, own in listed.items():
        if not own or len(set(own)) < len(own) or (most is not None and max(own) >= most):
            limit = "" if most is None else f" from 0 to {most - 1}"
            raise ValueError(
                f"train.{name}.folds={list(own)} must name at least one fold{limit}, and each fold once "
                f"(split.folds={split.folds}). Set train.{name}.folds=null to train all folds."
            )
    if split.folds != AUTO:
        listed = {name: tuple(range(split.fold_count)) if own is None else own for name, own in folds.items()}
    for name, own in listed.items():
        first, others = next(iter(listed.items()))
        if set(own) != set(others):
            raise ValueError(
                f"train.{name} has the folds {list(own)}, but train.{first} has {list(others)}. All members are scored "
                "on the same recordings: give them the same folds, such as 'train.*.folds=[0]'."
            )


def _most_folds(split: SplitConfig) -> int | None:
    """Returns the largest possible number of folds; None: only a column of the table tells it."""
    if split.folds != AUTO:
        return split.fold_count
    return None if split.fold_column else MOST_FOLDS
