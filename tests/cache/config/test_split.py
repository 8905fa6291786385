"""Settings of the split that contradict each other."""

import pytest

from cache.config.split import SplitConfig


def test_a_test_share_beside_given_folds_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be held out of the folds that fold_column='fold' gives"):
        SplitConfig(fold_column="fold", test_share=0.1)
