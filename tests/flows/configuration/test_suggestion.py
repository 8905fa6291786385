from flows.configuration.suggestion import suggest


def test_only_a_near_word_is_suggested() -> None:
    assert suggest("epoch", ["seed", "epochs", "folds"]) == "; did you mean epochs?"
    assert suggest("zebra", ["seed", "epochs", "folds"]) == ""
    assert suggest("epoch", []) == ""
