import pytest

from flows.configuration.switch import is_on


@pytest.mark.parametrize(
    ("value", "on"),
    [("1", True), ("2", True), ("yes", True), ("true", True)]
    + [(off, False) for off in ("", "0", "no", "No", "off", "FALSE", "n", " ")],
)
def test_value_switches_on_or_off(value: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIRDCLEF_TEST_SWITCH", value)
    assert is_on("BIRDCLEF_TEST_SWITCH") is on


def test_variable_that_is_not_set_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIRDCLEF_TEST_SWITCH", raising=False)
    assert not is_on("BIRDCLEF_TEST_SWITCH")
