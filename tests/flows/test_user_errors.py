import pytest

from flows.user_errors import be_verbose, describe, is_verbose, summarise


@pytest.fixture
def error(monkeypatch: pytest.MonkeyPatch) -> ValueError:
    monkeypatch.setenv("BIRDCLEF_VERBOSE", "0")
    try:
        raise ValueError("split.folds=1 is too few")
    except ValueError as raised:
        return raised


def test_an_error_is_one_sentence(error: ValueError) -> None:
    assert not is_verbose()
    assert describe(error) == summarise(error) == "ValueError: split.folds=1 is too few"


def test_on_demand_the_traceback_comes_with_it(error: ValueError) -> None:
    be_verbose()
    assert is_verbose()
    told = describe(error).splitlines()
    assert told[0].startswith("Traceback")
    assert told[-1] == summarise(error)
