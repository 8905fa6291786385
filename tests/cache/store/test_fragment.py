"""An index fragment by hand: what it says is read back, and what is torn is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from cache.store.fragment import DamagedPartError, Failure, Fragment, Strip

STRIP = Strip("sha-a", "part", 0, 50, -3.5, -40.25, "digest", "0f1e", None)
FRAGMENT = Fragment(
    (STRIP, replace(STRIP, sha256="sha-b", start=50, seconds=1.5)), (Failure("sha-c", "timeout", "", 2.0),)
)


def test_fragment_is_read_back_with_its_name_as_the_part_of_its_strips(tmp_path: Path) -> None:
    path = tmp_path / "part.json"
    path.write_text(FRAGMENT.to_json())
    assert Fragment.read(path) == FRAGMENT
    (tmp_path / "other.json").write_text(FRAGMENT.to_json())
    assert {strip.part for strip in Fragment.read(tmp_path / "other.json").strips} == {"other"}


def test_identity_follows_the_audio_and_its_failures_and_not_what_was_computed_of_it() -> None:
    louder = replace(FRAGMENT, strips=tuple(replace(strip, peak_db=0.0) for strip in FRAGMENT.strips))
    assert louder.identity == FRAGMENT.identity
    assert replace(FRAGMENT, strips=FRAGMENT.strips[:1]).identity != FRAGMENT.identity
    assert replace(FRAGMENT, failures=()).identity != FRAGMENT.identity


@pytest.mark.parametrize("content", ["", "{}", '{"strips": [{}], "failures": []}', FRAGMENT.to_json()[:-9]])
def test_what_is_no_fragment_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    path = tmp_path / "part.json"
    path.write_text(content)
    with pytest.raises(DamagedPartError, match=r"part\.json is not a readable index fragment .*birdclef verify"):
        Fragment.read(path)
