import pytest

from flows.configuration.arms import read_arm


def test_an_arm_is_a_known_name_or_a_new_name_with_settings() -> None:
    assert read_arm("soft") == ("soft", [])
    assert read_arm(" hot  objective.temperature=0.5 views=1") == ("hot", ["objective.temperature=0.5", "views=1"])


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("", "An arm has no name"),
        ("sift", "There is no arm 'sift'; did you mean soft"),
        ("ce objective.kind=supcon", "'ce' is a known arm. Choose another name"),
        ("long epochs=90", "The arm 'long' sets epochs=90, but .* --epochs"),
        ("long steps_per_epoch=50", "equal cost"),
        ("lucky seed=7", "--seeds"),
        ("lucky select=best", "too high"),
    ],
)
def test_a_wrong_arm_is_refused(arm: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_arm(arm)
