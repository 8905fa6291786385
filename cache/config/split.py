"""Configuration of the split."""

from typing import Annotated, ClassVar, Self

from pydantic import (
    Field,
    model_validator,
)

from cache.config.section import ConfigSection


class SplitConfig(ConfigSection):
    """Grouped, stratified folds."""

    folds: int = Field(default=5, ge=2)
    """Number of folds."""
    seed: int = 42
    """Seed of the fold assignment."""
    group_by: str = "recordist"
    """What must not be on both sides: `recordist`; `recordist+place`, within 0.1 degrees; `recording`, nothing but
    duplicates; or a column of the table of recordings, such as a site's name."""
    fold_column: str | None = None
    """Column of the table that gives each recording's fold: 0 to folds - 1, or -1 for training only; null: assigned."""
    test_share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of the recordings held out, group by group, from training and validation: one part in 2, 3, 4, ..."""
    keep_folds_of: Annotated[str, Field(pattern=r"^(champion|[0-9a-f]{16})$")] | None = "champion"
    """Split whose recordings keep their folds when others come or go: its key, or `champion` for the champion's, which
    flows replace by its key, or by null while there is none; null: all are assigned anew. A split of other settings,
    and `fold_column`, keep none."""

    execution_fields: ClassVar[frozenset[str]] = frozenset({"keep_folds_of"})  # it is an input of the split instead

    @model_validator(mode="after")
    def _check_fold_source(self) -> Self:
        if self.fold_column and self.test_share:
            raise ValueError(
                f"test_share={self.test_share} cannot be held out of the folds that fold_column='{self.fold_column}' "
                "gives: set test_share=0, or leave the recordings out of the table."
            )
        if self.test_share and abs(1 / self.test_share - round(1 / self.test_share)) > 0.01 / self.test_share:
            parts = round(1 / self.test_share)
            raise ValueError(
                f"test_share={self.test_share} is not one part in a whole number: take {1 / parts:.4g} (1/{parts})."
            )
        return self
