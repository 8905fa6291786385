"""Configuration of the split."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from cache.config.section import ConfigSection, Seed, refuse_in_one_sentence

AUTO = "auto"
"""Value of `split.folds` that chooses the number of folds from the recordings."""

MOST_FOLDS = 5
"""Largest number of folds that `split.folds=auto` chooses itself, and the default of `split.folds`."""


_MOST_PARTS = 1000
"""Largest number of parts that recordings are divided into."""


class SplitConfig(ConfigSection):
    """Grouped, stratified folds."""

    folds: Annotated[
        Annotated[int, Field(ge=2, le=_MOST_PARTS)] | Literal["auto"],
        refuse_in_one_sentence(f"a whole number from 2 to {_MOST_PARTS}, or {AUTO}"),
    ] = MOST_FOLDS
    """Number of folds. `auto` takes that of `fold_column`; else that of the split whose folds are kept; else the
    largest number up to 5 that the recordings allow. Keys and reports hold the number, not the word."""
    seed: Seed = 42
    """Seed of the fold assignment."""
    group_by: str = "recordist"
    """What recordings must share to stay in one fold: `recordist`; `recordist+place`, a place is a cell of 0.1 degrees;
    `recording`, which keeps only duplicates together; or the name of a column of the table, such as a site."""
    fold_column: str | None = None
    """Column of the table with the fold of each recording: 0 to folds - 1, or -1 for training only; null: the folds are
    computed."""
    test_share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of the recordings held out from training and validation: 0, or 1/2, 1/3, 1/4, ...; groups stay whole."""
    keep_folds_of: Annotated[str, Field(pattern=r"^(champion|[0-9a-f]{16})$")] | None = "champion"
    """Earlier split whose folds are kept when recordings are added or removed: its key, or `champion` for the split of
    the champion. Flows replace `champion` by a key, or by null while there is no champion. null: all folds are computed
    anew. Folds are also computed anew if the earlier split has other settings, or if `fold_column` is set."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"keep_folds_of"})  # it is an input of the split instead

    @property
    def fold_count(self) -> int:
        """Number of folds.

        Raises:
            ValueError: If it is still `auto`. `cache.split.build_split` settles the number.
        """
        if self.folds == AUTO:
            raise ValueError("split.folds=auto has no number before the split is built.")
        return int(self.folds)

    @model_validator(mode="after")
    def _check_fold_source(self) -> Self:
        if self.fold_column and self.test_share:
            raise ValueError(
                f"test_share={self.test_share} cannot be held out, because fold_column='{self.fold_column}' fixes the "
                "folds. Set test_share=0, or leave the test recordings out of the table."
            )
        if 0 < self.test_share < 1 / _MOST_PARTS:
            raise ValueError(
                f"test_share={self.test_share} is too small. Set 0 to hold out nothing, or {1 / _MOST_PARTS:g} "
                f"(1/{_MOST_PARTS}) or more."
            )
        if self.test_share and abs(1 / self.test_share - round(1 / self.test_share)) > 0.01 / self.test_share:
            parts = round(1 / self.test_share)
            raise ValueError(
                f"test_share={self.test_share} is not 1 divided by a whole number. Set {1 / parts:.4g} (1/{parts})."
            )
        return self
