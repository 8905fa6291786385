"""Presets by name: in a clone, and as an installed package away from it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from birdnet_installation import needs_birdnet

from flows.configuration.presets import find_config, is_preset, list_presets, read_argument
from flows.experiment import load_config

PROJECT = Path(__file__).resolve().parents[3]


def test_presets_are_the_files_of_the_clone() -> None:
    assert list_presets() == sorted(path.stem for path in (PROJECT / "configs").glob("*.yaml"))
    assert find_config(Path("small")) == PROJECT / "configs" / "small.yaml"


def test_name_is_found_from_anywhere_and_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("data: {root: d}\ntrain: {cnn: {}}\n")
    Path("small").mkdir()  # as a folder of recordings may be called
    assert load_config(Path("small")) == load_config(PROJECT / "configs" / "small.yaml")
    assert load_config(Path("my.yaml")).data.root == "d"
    assert is_preset(Path("small"))
    assert not is_preset(Path("my.yaml"))
    assert not is_preset(PROJECT / "configs" / "small.yaml")


def test_path_with_a_dot_in_front_is_a_file_even_if_a_preset_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_argument("small") == Path("small")
    assert read_argument("configs/small.yaml") == Path("configs/small.yaml")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'small'}: no such configuration"):
        find_config(read_argument("./small"))
    Path("small").write_text("data: {root: mine}\ntrain: {cnn: {}}\n")
    assert load_config(read_argument("./small")).data.root == "mine"
    assert not is_preset(read_argument("./small"))
    assert is_preset(read_argument("small"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            "smal",
            r"^There is no preset 'smal'; did you mean small\? Presets: baseline, .*small, small-from-scratch\. Or ",
        ),
        ("xyzzy", r"^There is no preset 'xyzzy'\. Presets: baseline"),
        (
            "configs/small.yaml",
            r"^configs/small\.yaml: no such configuration; did you mean small\? .* in this folder: none\.",
        ),
        (
            "none.yaml",
            r"^none\.yaml: no such configuration\. Configurations in this folder: my\.yaml\. Presets: baseline",
        ),
    ],
)
def test_what_is_not_there_is_told_what_is(
    config: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").touch()
    with pytest.raises(FileNotFoundError, match=message):
        find_config(Path(config))


def test_presets_come_with_the_installed_package(installed: Path, tmp_path: Path) -> None:
    """A wheel of the project, unpacked where no clone is near, shows a preset as the clone does."""
    code = "import flows, sys; sys.stderr.write(flows.__file__); from flows.command_line.entry import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", code, "config", "show", "small", "data.root=DIR"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == str(installed / "flows" / "__init__.py")
    assert yaml.safe_load(shown.stdout) == load_config(Path("small"), ["data.root=DIR"]).model_dump(mode="json")


@needs_birdnet
def test_fusion_differs_from_its_two_sources_as_the_documentation_says() -> None:
    """docs/presets.md: both with crops of 6 s at a stride of 3 s, the head by mean_pool, no shifted views."""
    fusion, small, embeddings = (
        load_config(Path(name), ["data.root=DIR"]) for name in ("fusion", "small", "embeddings")
    )
    network, head = small.train["cnn"], embeddings.train["head"]
    assert fusion.train["cnn"] == network.model_copy(update={"clip_seconds": 6.0})
    assert fusion.member_features["cnn"] == small.features
    mean_pool = head.model.model_copy(update={"backbone": "mean_pool"})
    assert fusion.train["head"] == head.model_copy(update={"clip_seconds": 6.0, "model": mean_pool})
    assert fusion.features == embeddings.features
    assert (fusion.predict.stride_seconds, fusion.predict.shift_seconds) == (3.0, (0.0,))
    assert (network.clip_seconds, head.clip_seconds, head.model.backbone) == (5.0, 12.0, "attention_pool")
    section = (PROJECT / "docs" / "presets.md").read_text().partition("### `fusion`")[2].partition("###")[0]
    section = " ".join(section.split())
    assert all(word in section for word in ("crops of 6 s", "every 3 s", "mean_pool", "5 s there", "shifted in time"))
