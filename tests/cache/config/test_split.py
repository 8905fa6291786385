"""Settings of the split that are wrong, or contradict each other."""

import pytest

from cache.config.split import SplitConfig


def test_a_test_share_beside_given_folds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot be held out.* fold_column='fold' .* Set test_share=0"):
        SplitConfig(fold_column="fold", test_share=0.1)


@pytest.mark.parametrize("folds", [1, 0, "five", 2.5])
def test_folds_are_a_number_or_auto(folds: object) -> None:
    assert SplitConfig(folds="auto").folds == "auto"
    assert SplitConfig.model_validate({"folds": "3"}).fold_count == 3
    with pytest.raises(ValueError, match=r"Input should be a whole number from 2 to 1000, or auto") as refused:
        SplitConfig.model_validate({"folds": folds})
    assert str(refused.value).startswith("1 validation error")


def test_auto_has_no_number_before_the_split_is_built() -> None:
    with pytest.raises(ValueError, match=r"^split\.folds=auto has no number"):
        _ = SplitConfig(folds="auto").fold_count
