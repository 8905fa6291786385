"""Settings of the split that contradict each other."""

import pytest

from cache.config.split import SplitConfig


def test_a_test_share_beside_given_folds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot be held out.* fold_column='fold' .* Set test_share=0"):
        SplitConfig(fold_column="fold", test_share=0.1)
