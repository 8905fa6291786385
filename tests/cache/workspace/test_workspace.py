import logging
from dataclasses import replace
from pathlib import Path

import pytest

from cache.workspace.keys import Recipe
from cache.workspace.provenance import is_finished
from cache.workspace.urls import write_bytes
from cache.workspace.workspace import Workspace

RECIPE = Recipe("splits", {"folds": 5, "seed": 42}, {"catalogue": "ab12", "other": "cd34"}, 1)


def write_result(staging: Path) -> None:
    (staging / "result.txt").write_text("done")


def refuse_to_build(staging: Path) -> None:
    raise AssertionError(f"{staging} must not be built again")


def test_artefact_lies_under_its_kind_and_key(tmp_path: Path) -> None:
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    assert directory == tmp_path / "splits" / RECIPE.key
    assert (directory / "result.txt").read_text() == "done"


def test_finished_artefact_is_returned_without_building_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert not caplog.records
    assert Workspace(tmp_path).materialise(RECIPE, refuse_to_build) == directory
    assert f"splits/{RECIPE.key}: from cache" in caplog.text
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.txt", b"\0\0\0\0"),  # as long as before
        ("result.txt", b""),
        ("result.txt", None),
        ("provenance.json", b""),
    ],
    ids=["zeros", "empty", "missing", "empty provenance"],
)
def test_artefact_that_a_power_failure_has_torn_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: bytes | None
) -> None:
    directory = Workspace(tmp_path).materialise(RECIPE, write_result)
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)
    assert Workspace(tmp_path).materialise(RECIPE, write_result) == directory
    assert (directory / "result.txt").read_text() == "done"
    assert f"{directory} is damaged ({name})" in caplog.text
    assert list(Workspace(tmp_path).staging.glob("gone-*")) == []
    assert Workspace(tmp_path).materialise(RECIPE, refuse_to_build) == directory


def test_damaged_copy_of_an_artefact_at_a_url_is_fetched_again(tmp_path: Path, bucket_url: str) -> None:
    workspace = Workspace.open(bucket_url, tmp_path)
    directory = workspace.materialise(RECIPE, write_result)
    (directory / "result.txt").write_bytes(b"\0\0\0\0")
    assert workspace.materialise(RECIPE, refuse_to_build) == directory
    assert (directory / "result.txt").read_text() == "done"


def test_other_recipe_is_built_beside(tmp_path: Path) -> None:
    first = Workspace(tmp_path).materialise(RECIPE, write_result)
    second = Workspace(tmp_path).materialise(replace(RECIPE, version=2), write_result)
    assert first != second
    assert is_finished(first)
    assert is_finished(second)


def test_artefacts_are_listed_by_kind_then_name_without_unfinished_ones(tmp_path: Path) -> None:
    for place in ("reports/b", "reports/a", "features/z", "runs/m", "catalogues/c", "splits/s", "predictions/p"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "provenance.json").write_text("{}")
    (tmp_path / "runs" / "a-unfinished").mkdir()
    (tmp_path / "hashes" / "x").mkdir(parents=True)
    (tmp_path / "hashes" / "x" / "provenance.json").write_text("{}")
    listed = [path.relative_to(tmp_path).as_posix() for path in Workspace(tmp_path).artefacts()]
    assert listed == [
        "features/z",
        "catalogues/c",
        "splits/s",
        "runs/m",
        "predictions/p",
        "reports/a",
        "reports/b",
    ]


def test_empty_workspace_lists_nothing(tmp_path: Path) -> None:
    assert list(Workspace(tmp_path / "absent").artefacts()) == []


def test_an_artefact_that_is_named_by_its_directory_lies_in_its_workspace(tmp_path: Path, bucket_url: str) -> None:
    mirroring = Workspace.open(bucket_url, tmp_path)
    made = mirroring.materialise(RECIPE, write_result)
    assert Workspace.containing(made, tmp_path) == mirroring
    assert Workspace.open(mirroring.directory, tmp_path) == mirroring
    assert mirroring.address(made) == f"{bucket_url}/splits/{RECIPE.key}"
    plain = Workspace.open(tmp_path / "plain")
    assert Workspace.containing(plain.materialise(RECIPE, write_result)) == plain
    assert plain.address() == str(tmp_path / "plain")


@pytest.mark.parametrize(
    "origin",
    [
        "dask://evil/x",
        "az://evil/x",
        "az://evil/../../../received",  # leads from the folder of mirrors to this folder
        "{folder}",
        "x://{folder}",
        "",
        "\0",
    ],
)
def test_origin_in_a_folder_from_elsewhere_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    received = tmp_path / "received"
    artefact = Workspace(received).materialise(RECIPE, write_result)
    (received / ".origin").write_text(origin.format(folder=received))
    assert Workspace.containing(artefact) == Workspace.open(received) == Workspace(received)
    assert f"{received}/.origin is ignored" in caplog.text


def test_mirror_in_the_cache_folder_knows_its_url(
    tmp_path: Path, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "linked"))
    (tmp_path / "caches").mkdir()
    (tmp_path / "linked").symlink_to("caches")
    mirroring = Workspace.open(bucket_url)
    made = mirroring.materialise(RECIPE, write_result)
    assert made.resolve().is_relative_to(tmp_path / "caches" / "birdclef" / "az")
    assert Workspace.containing(made).address() == bucket_url


@pytest.mark.parametrize("key", ["..", "../../home", "/home", "a/b", ""])
def test_key_that_leads_out_of_the_workspace_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match=r"is no key of an artefact in .*runs, so somebody changed an artefact"):
        Workspace(tmp_path).artefact("runs", key)


def test_file_at_a_url_whose_name_leads_out_of_the_workspace_is_refused(tmp_path: Path, bucket_url: str) -> None:
    mirroring = Workspace.open(bucket_url, tmp_path / "mirrors")
    index = mirroring.directory / "features" / "k" / "index"
    write_bytes(f"{bucket_url}/features/k/index/../../../../escaped.json", b"{}")
    assert mirroring.mirror
    with pytest.raises(ValueError, match=r"lists a file '\.\./.*/escaped\.json' that lies outside"):
        mirroring.mirror.sizes(index)


def test_a_published_file_is_seen_and_removed_on_every_machine(tmp_path: Path, bucket_url: str) -> None:
    first, second = (Workspace.open(bucket_url, tmp_path / name) for name in ("first", "second"))
    names = [workspace.directory / "hashes" / "a.csv" for workspace in (first, second)]
    assert second.read(names[1]) is None
    first.publish(names[0], b"1")
    assert (names[0].read_bytes(), second.read(names[1])) == (b"1", b"1")
    second.remove(names[1])
    assert first.read(names[0]) is None


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for address in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError, match=f"{address} cannot be .* because {tmp_path / 'file'} is a file"):
            Workspace.open(address)


def test_a_workspace_at_an_unknown_protocol_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nosuch"):
        Workspace.open("nosuch://x", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_is_probed_without_a_trace(tmp_path: Path, bucket_url: str) -> None:
    assert Workspace.open(tmp_path / "new").writable_address() == str(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    assert Workspace.open(bucket_url, tmp_path).writable_address() == bucket_url


def test_a_workspace_that_cannot_be_written_is_told() -> None:
    """Linux lets nobody make a folder in /proc, not even root."""
    with pytest.raises(OSError, match=r"^The workspace /proc/x cannot be written: .* --workspace"):
        Workspace.open("/proc/x").writable_address()
