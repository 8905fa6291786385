from dataclasses import replace
from pathlib import Path

import pytest

from cache.workspace.keys import Recipe, content_key, file_key

RECIPE = Recipe("splits", {"folds": 5, "seed": 42}, {"catalogue": "ab12", "other": "cd34"}, 1)


def test_content_key_is_the_head_of_the_sha256_of_canonical_json() -> None:
    # printf '{"a":[1,2.5,null],"b":"\\u00e9"}' | sha256sum
    assert content_key({"b": "é", "a": [1, 2.5, None]}) == "45584828a616e524"


def test_content_key_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_key({"fmin": float("nan")})


def test_file_key_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # test vector of FIPS 180-2
    assert file_key(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_key_does_not_depend_on_the_order_of_fields() -> None:
    reordered = replace(
        RECIPE,
        config=dict(reversed(list(RECIPE.config.items()))),
        inputs=dict(reversed(list(RECIPE.inputs.items()))),
    )
    assert list(reordered.config) != list(RECIPE.config)
    assert reordered.key == RECIPE.key
    assert len(RECIPE.key) == 16


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECIPE, kind="catalogues"),
        replace(RECIPE, config={"folds": 5, "seed": 43}),
        replace(RECIPE, config={"folds": 5}),
        replace(RECIPE, inputs={"catalogue": "ab12", "other": "cd35"}),
        replace(RECIPE, inputs={"catalogue": "ab12"}),
        replace(RECIPE, version=2),
    ],
    ids=["kind", "value", "fewer fields", "input", "fewer inputs", "version"],
)
def test_key_changes_with_each_field(changed: Recipe) -> None:
    assert changed.key != RECIPE.key
