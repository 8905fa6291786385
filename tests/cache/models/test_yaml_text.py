"""YAML as users write it: what PyYAML would drop or not name is told with its place."""

from pathlib import Path

import pytest
import yaml

from cache.models.yaml_text import parse_yaml, read_yaml

# Ten anchors, each of ten times the one before: 500 bytes for 10^10 values.
TENFOLD = {n: ", ".join([f"*a{n - 1}"] * 10) for n in range(1, 11)}
LAUGHS = "- &a0 [x]\n" + "".join(f"- &a{n} [{before}]\n" for n, before in TENFOLD.items())
MERGES = "- &a0 {x: 1}\n" + "".join(f"- &a{n} {{<<: [{before}]}}\n" for n, before in TENFOLD.items())


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: [1, 2.5, null, x]}\nc: 'd'\n",
        "x: &x {k: 1}\ny: {<<: *x, k: 2}\nz: {k: 3, <<: *x}\n",
        "1e-3",
        "",
        "[a, {b: c}]",
    ],
)
def test_valid_text_is_read_as_pyyaml_reads_it(text: str) -> None:
    assert parse_yaml(text, "here") == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", "^here, line 3: the key 'a' is already in line 1\\."),
        ("x: {k: 1,\n    k: 2}\n", "^here, line 2: the key 'k' is already in line 1\\."),
        ("[{k: 1, k: 2}]", "line 1: the key 'k'"),
        ("a:\n  1: 2\n", "^here, line 2: the key '1' is not text\\. Write it in quotes"),
        ("on: 2", "the key 'on' is not text"),
        ("? [a]\n: 2", "the key in brackets is not text"),
        ("a: 1\nb: [2", r"^here is not valid YAML \(line 2\): .* expected ',' or '\]'"),
        ("a: !thing 1", r"^here is not valid YAML \(line 1\): .*!thing"),
        ("2023-13-01", "^here is not valid YAML: month must be in 1..12"),
        ("a: \0", "^here is not valid YAML: "),
        (LAUGHS, r"^here, line \d+: this stands for more than 100,000 values, repeated anchors counted\. S"),
        (MERGES, r"^here, line \d+: this stands for more than 100,000 values"),
        ("a: &a [1, *a]", "^here, line 1: an anchor holds itself"),
        ("[" * 5000 + "]" * 5000, "^here holds brackets in brackets, too many to read"),
    ],
)
def test_wrong_text_is_told_with_its_line_in_one_sentence(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        parse_yaml(text, "here")
    assert "\n" not in str(refused.value)


def test_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("name: Wiesenpieper, Baß\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.yaml is not UTF-8 text: byte 23 is 0xdf\. Save it as UTF-8\.$"):
        read_yaml(path)
    path.write_text("name: Baß\n", encoding="utf-8")
    assert read_yaml(path) == {"name": "Baß"}
