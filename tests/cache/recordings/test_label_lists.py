"""Fields as published tables hold them: BirdCLEF 2020 to 2025, and what pandas and NumPy write of a list."""

import ast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.recordings.label_lists import describe_lists, parse_labels

LABEL_OF = {"turdus migratorius": "amerob"}


@pytest.mark.parametrize("text", ["", " ", "[]", "()", "['']", "nan", "NaN", "None", "-", "[None]", "[nan]", "<NA>"])
def test_missing_values_are_no_labels(text: str) -> None:
    assert parse_labels(text, {}) == []


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("['22930', 'greegr']", ["22930", "greegr"]),
        ('["a", "b"]', ["a", "b"]),
        ("('a', 'b')", ["a", "b"]),
        ("('a',)", ["a"]),
        ("[1139490, 22930]", ["1139490", "22930"]),
        ("[1139490 22930]", ["1139490", "22930"]),
        ("22930.0", ["22930"]),
        ("greegr", ["greegr"]),
        ("a;b", ["a", "b"]),
        ("a|b", ["a", "b"]),
        ("a / b", ["a", "b"]),
        ("['a|b']", ["a|b"]),
        ("a, b", ["a", "b"]),
        ("'a'", ["a"]),
        ("""["Swainson's_Thrush", 'b']""", ["Swainson's_Thrush", "b"]),
        ("['', 'a']", ["a"]),
    ],
)
def test_lists_of_published_tables_are_read(text: str, labels: list[str]) -> None:
    assert parse_labels(text, {}) == labels


def test_text_that_numpy_writes_of_an_array_has_all_its_labels() -> None:
    labels = [f"label{number:02}" for number in range(30)]
    assert "\n" in str(np.array(labels))
    assert parse_labels(str(np.array(labels)), {}) == labels
    assert parse_labels(str(np.array([22930, 1139490])), {}) == ["22930", "1139490"]


@given(st.lists(st.text("abcXYZ019_-.", min_size=1).filter(lambda label: label.strip(".") not in ("", "-"))))
def test_lists_of_python_are_read_as_python_reads_them(labels: list[str]) -> None:
    assert parse_labels(repr(labels), {}) == ast.literal_eval(repr(labels))


@pytest.mark.parametrize(
    "text",
    [
        "['a'",
        "['a''b']",
        "['a' b]",
        "House Sparrow",
        "[House Sparrow]",
        "['House Sparrow']",
        "['Turdus merula_Common Blackbird']",
        "[[1]]",
        "[...]",
        "{'a': 1}",
        "[a,,b]",
        "__import__('os')",
    ],
)
def test_text_that_may_mean_other_labels_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_labels(text, {})


def test_names_of_2020_become_labels_and_other_species_keep_their_name() -> None:
    text = "['Turdus migratorius_American Robin', 'Turdus merula_Common Blackbird', 'Turdus migratorius']"
    assert parse_labels(text, LABEL_OF) == ["amerob", "Turdus_merula_Common_Blackbird", "amerob"]


def test_other_forms_are_counted_with_an_example() -> None:
    texts = ["['a', 'b']", '["a"]', "[]", "['a' 'b']", "c"]
    assert describe_lists(texts, [parse_labels(text, {}) for text in texts]) == [
        "2 list(s) of secondary_labels in another form, such as \"['a' 'b']\" for a, b"
    ]
    assert describe_lists(texts[:3], [["a", "b"], ["a"], []]) == []
