"""The pinned packages of the image: they are within the ranges of pyproject.toml, and each has a hash."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1]
OF_TORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


def read_pinned(name: str) -> dict[str, str]:
    """Returns the text of each pinned package, with its markers and hashes, by the package's name."""
    pinned = {}
    for entry in re.split(r"\n(?! )", (PROJECT / "requirements" / f"{name}.txt").read_text().strip()):
        requirement = Requirement(re.sub(r"\s*\\\n.*", "", entry, flags=re.DOTALL))
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        pinned[canonicalize_name(requirement.name)] = entry
    return pinned


def version_of(entry: str) -> str:
    return re.split(r"[ \\]", entry.split("==", 1)[1], maxsplit=1)[0]


@pytest.mark.parametrize("name", ["all", "without-torch"])
def test_pinned_packages_are_those_that_the_project_asks_for(name: str) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    pinned = read_pinned(name)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in pinned.values())
    for text in [*project["dependencies"], *project["optional-dependencies"]["s3"]]:
        wanted = Requirement(text)
        if name == "without-torch" and OF_TORCH.fullmatch(wanted.name):
            assert canonicalize_name(wanted.name) not in pinned
        else:
            assert wanted.specifier.contains(version_of(pinned[canonicalize_name(wanted.name)])), text


def test_maker_of_the_list_of_packages_is_pinned_too() -> None:
    (wanted,) = (PROJECT / "requirements" / "sbom.in").read_text().splitlines()
    pinned = read_pinned("sbom")
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in pinned.values())
    assert Requirement(wanted).specifier.contains(version_of(pinned[Requirement(wanted).name]))


def test_the_smaller_set_lacks_what_comes_with_torch_only() -> None:
    everything, smaller = read_pinned("all"), read_pinned("without-torch")
    assert {name: entry for name, entry in everything.items() if not OF_TORCH.fullmatch(name)} == smaller
    assert {"torch", "torchvision"} <= everything.keys() - smaller.keys()


def test_images_are_named_by_digest() -> None:
    digest = re.compile(r"[\w/.-]+:[\w.-]+@sha256:[0-9a-f]{64}")
    (base,) = re.findall(r"^ARG BASE_IMAGE=(.*)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    images = re.findall(r"^ +image: (.*)$", (PROJECT / "compose.yaml").read_text(), re.MULTILINE)
    foreign = [base, *(image for image in images if image != "birdclef")]
    assert len(foreign) == 2
    assert all(digest.fullmatch(image) for image in foreign)
