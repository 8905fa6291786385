import hashlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cache.catalogue import build_catalogue
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.features import open_feature_directory
from cache.garbage import collect_garbage, find_garbage, folder_bytes
from cache.recordings.catalogue_tables import read_quarantine
from cache.store.fragment import Failure
from cache.store.part_writer import PartWriter
from cache.store.strip_store import StripStore
from cache.verify import find_damage
from cache.workspace.builders import AtWorkError
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key
from cache.workspace.workspace import Workspace

FEATURES = LogMelConfig(n_mels=4)


def sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def write_part(store: Path, names: str, failures: str = "") -> str:
    generator = np.random.default_rng(len(names))
    with PartWriter(FeatureDirectory(store), FEATURES.n_mels) as writer:
        for name in names:
            writer.add_strip(sha256(name), generator.normal(-30, 5, (100, FEATURES.n_mels)).astype(np.float32))
        for name in failures:
            writer.add_failure(Failure(sha256(name), "undecodable", "no frame decodes"))
        return writer.publish()


def write_catalogue(store: Path, names: str, workspace: Path) -> Path:
    table = pd.DataFrame(
        {
            "recording_id": [f"{name}.ogg" for name in names],
            "label": "bird",
            "secondary_labels": "",
            "recordist": "",
            "size": 1,
            "version": "1",
            "sha256": [sha256(name) for name in names],
        }
    )
    data = DataConfig(root="unused", max_quarantined_share=0.9)
    return build_catalogue(table, data, FeatureDirectory(store), Workspace(workspace))


def write_artefact(kind: str, inputs: dict[str, str], workspace: Path) -> Path:
    return Workspace(workspace).materialise(
        Recipe(kind, {}, inputs, 1), lambda staging: (staging / "x").write_text("x" * 100) and None
    )


def age(artefact: Path, created: str) -> None:
    """Give an artefact another time of creation."""
    path = artefact / "provenance.json"
    text = path.read_text()
    start = text.index('"created": "') + len('"created": "')
    path.write_text(text[:start] + created + text[start + len(created) :])


def test_what_reports_and_runs_were_made_from_is_kept_and_the_rest_can_go(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    write_part(store, "ab")
    catalogue = write_catalogue(store, "ab", tmp_path)
    split = write_artefact("splits", {"catalogue": artefact_key(catalogue)}, tmp_path)
    run = write_artefact("runs", {"split": artefact_key(split)}, tmp_path)
    predictions = write_artefact("predictions", {"run": artefact_key(run)}, tmp_path)
    report = write_artefact("reports", {"cnn/0": artefact_key(predictions)}, tmp_path)
    lonely_split = write_artefact("splits", {"catalogue": artefact_key(catalogue), "other": "x"}, tmp_path)
    lonely_predictions = write_artefact("predictions", {"run": artefact_key(run), "other": "x"}, tmp_path)
    lonely_store = open_feature_directory(LogMelConfig(n_mels=5), Workspace(tmp_path)).path
    removed = {item.path for item in collect_garbage(Workspace(tmp_path))}
    assert removed == {lonely_split, lonely_predictions, lonely_store}
    assert all(path.is_dir() for path in (store, catalogue, split, run, predictions, report))
    assert not any(path.exists() for path in removed)
    assert find_garbage(Workspace(tmp_path)) == []


def test_dropped_reports_go_with_the_runs_that_only_they_need(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    write_part(store, "ab")
    catalogue = write_catalogue(store, "ab", tmp_path)
    split = write_artefact("splits", {"catalogue": artefact_key(catalogue)}, tmp_path)

    def train_and_report(*names: str) -> tuple[list[Path], Path]:
        runs = [write_artefact("runs", {"split": artefact_key(split), "name": name}, tmp_path) for name in names]
        predictions = [write_artefact("predictions", {"run": artefact_key(run)}, tmp_path) for run in runs]
        inputs = {str(number): artefact_key(path) for number, path in enumerate(predictions)}
        return [*runs, *predictions], write_artefact("reports", inputs, tmp_path)

    (old_run, shared_run, old_predictions, shared_predictions), old = train_and_report("old", "shared")
    (_, new_run, *_), new = train_and_report("shared", "new")
    (*swept, _), compared = train_and_report("swept")
    sweep = write_artefact("sweeps", {"0": artefact_key(compared)}, tmp_path)
    lonely = write_artefact("runs", {"split": artefact_key(split), "name": "without a report"}, tmp_path)
    dropped = [old.name, compared.name, "0123456789abcdef"]
    assert {item.path for item in collect_garbage(Workspace(tmp_path), dropped=dropped)} == {
        old,
        old_run,
        old_predictions,
    }
    needed = (new, new_run, shared_run, shared_predictions, *swept, compared, sweep, split, catalogue, store)
    assert all(path.is_dir() for path in (*needed, lonely))


def test_split_whose_folds_were_kept_goes_with_the_audio_that_only_it_names(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    gone_part, part = write_part(store, "x"), write_part(store, "ab")
    old, new = write_catalogue(store, "abx", tmp_path), write_catalogue(store, "ab", tmp_path)
    age(old, "2020-01-01")
    first = write_artefact("splits", {"catalogue": artefact_key(old)}, tmp_path)
    inputs = {"catalogue": artefact_key(new), "previous": artefact_key(first)}
    second = write_artefact("splits", inputs, tmp_path)
    run = write_artefact("runs", {"split": artefact_key(second)}, tmp_path)
    assert {item.path for item in collect_garbage(Workspace(tmp_path))} == {old, first, store / "parts" / gone_part}
    assert all(path.is_dir() for path in (run, second, new, store / "parts" / part))


def test_what_a_killed_removal_left_is_no_artefact_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    write_part(store, "ab")
    catalogue = write_catalogue(store, "ab", tmp_path)
    lonely = write_artefact("splits", {"catalogue": artefact_key(catalogue)}, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("cache.workspace.publication.shutil.rmtree", lambda path: (path / "x").unlink() or sys.exit(9))
        with pytest.raises(SystemExit):
            collect_garbage(Workspace(tmp_path))
    assert not lonely.exists()
    assert [item.why for item in collect_garbage(Workspace(tmp_path))] == ["left by work that did not end"]
    assert write_artefact("splits", {"catalogue": artefact_key(catalogue)}, tmp_path) == lonely


def test_copy_without_strips_has_neither_garbage_nor_damage(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    write_part(store, "ab")
    write_catalogue(store, "a", tmp_path)
    for folder in ("parts", "index"):
        shutil.rmtree(store / folder)
    assert find_garbage(Workspace(tmp_path)) == []
    assert list(find_damage(FeatureDirectory(store), 1.0, np.random.default_rng(0))) == []


@pytest.mark.parametrize(("aged", "created"), [(0, "2020-01-01"), (1, "1970-01-01")], ids=["right", "wrong"])
def test_newest_catalogue_is_kept_without_a_report(tmp_path: Path, aged: int, created: str) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    write_part(store, "abc")
    catalogues = [write_catalogue(store, names, tmp_path) for names in ("ab", "abc")]
    age(catalogues[aged], created)
    assert [item.path for item in collect_garbage(Workspace(tmp_path))] == catalogues[:1]
    assert catalogues[1].is_dir()
    assert len(StripStore(FeatureDirectory(store)).strips) == 3


def test_strips_survive_a_removal_that_goes_on_after_one_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killed one had moved the copy of needed strips to its place, and had not written its fragment."""
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    write_part(store, "abcd")
    write_catalogue(store, "a", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(FeatureDirectory, "publish", lambda *_: sys.exit(9))
        with pytest.raises(SystemExit):
            collect_garbage(Workspace(tmp_path))
    assert len(list((store / "parts").iterdir())) == 2
    assert len(collect_garbage(Workspace(tmp_path))) == 2
    assert set(StripStore(FeatureDirectory(store)).strips) == {sha256("a")}
    assert list(find_damage(FeatureDirectory(store), 1.0, np.random.default_rng(0))) == []
    assert find_garbage(Workspace(tmp_path)) == []


def test_leftovers_of_killed_builds_can_go_but_not_a_training_that_goes_on(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    part = write_part(store, "ab")
    write_catalogue(store, "ab", tmp_path)
    orphan = write_part(store, "cd")
    (store / "index" / f"{orphan}.json").unlink()
    with PartWriter(FeatureDirectory(store), FEATURES.n_mels) as torn:
        torn.add_strip("x", np.zeros((5, FEATURES.n_mels), np.float32))
        for name in ("splits-abc", "runs-abc"):
            (tmp_path / ".staging" / name).mkdir()
        collect_garbage(Workspace(tmp_path))
    assert [path.name for path in (store / "parts").iterdir()] == [part]
    assert sorted(path.name for path in (tmp_path / ".staging").iterdir() if path.is_dir()) == ["runs-abc"]


def test_dead_part_goes_mostly_dead_part_is_compacted_and_live_part_stays(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    dead, mostly, live = write_part(store, "abc"), write_part(store, "defg", failures="z"), write_part(store, "hi")
    write_catalogue(store, "ghz", tmp_path)
    before = {name: StripStore(FeatureDirectory(store)).read(sha256(name)) for name in "gh"}
    parts_before = folder_bytes(store / "parts" / live)
    reasons = {item.path.name: item.why for item in collect_garbage(Workspace(tmp_path))}
    assert reasons == {dead: "no catalogue names its audio", mostly: "no catalogue names 75% of its audio"}
    after = StripStore(FeatureDirectory(store))
    assert set(after.strips) == {sha256(name) for name in "ghi"}
    assert set(after.failures) == {sha256("z")}
    for name, strip in before.items():
        np.testing.assert_array_equal(after.read(sha256(name)), strip)
    assert folder_bytes(store / "parts" / live) == parts_before
    assert list(find_damage(FeatureDirectory(store), 1.0, np.random.default_rng(0))) == []
    assert find_garbage(Workspace(tmp_path)) == []


def test_damaged_strip_is_not_compacted_into_a_sound_part(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    part = write_part(store, "abcd")
    write_catalogue(store, "a", tmp_path)
    chunk = store / "parts" / part / "c" / "0" / "0"
    os.truncate(chunk, 10)
    chunk.write_bytes(chunk.read_bytes() + bytes(8192 * FEATURES.n_mels * 2 - 10))
    with pytest.raises(ValueError, match=r"is damaged\. Run birdclef verify"):
        collect_garbage(Workspace(tmp_path))
    assert len(StripStore(FeatureDirectory(store)).strips) == 4


def test_nothing_is_removed_while_something_is_built(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    with Workspace(tmp_path).at_work(), pytest.raises(AtWorkError):
        collect_garbage(Workspace(tmp_path))
    assert store.is_dir()


def test_strips_of_a_member_that_a_kept_run_was_trained_on_stay(tmp_path: Path) -> None:
    store, members_store = (
        open_feature_directory(LogMelConfig(n_mels=4, fmin=fmin), Workspace(tmp_path)).path for fmin in (20, 50)
    )
    for directory in (store, members_store):
        write_part(directory, "abc")
    write_part(members_store, "d")
    unused = write_part(members_store, "x")
    catalogue, old = write_catalogue(store, "abc", tmp_path), write_catalogue(members_store, "abc", tmp_path)
    split = write_artefact("splits", {"catalogue": artefact_key(catalogue)}, tmp_path)
    inputs = {"split": artefact_key(split), "features": artefact_key(members_store)}
    write_artefact("runs", inputs, tmp_path)
    age(old, "2020-01-01")
    write_catalogue(members_store, "d", tmp_path)  # a, b and c have left the table
    assert {item.path for item in collect_garbage(Workspace(tmp_path))} == {old, members_store / "parts" / unused}
    assert set(StripStore(FeatureDirectory(members_store)).strips) == {sha256(name) for name in "abcd"}


def test_quarantined_recording_keeps_its_strip(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    write_part(store, "ab")
    with PartWriter(FeatureDirectory(store), FEATURES.n_mels) as writer:
        writer.add_strip(sha256("s"), np.full((3, FEATURES.n_mels), -20.0, np.float32))
        writer.publish()
    catalogue = write_catalogue(store, "abs", tmp_path)
    assert read_quarantine(catalogue)["reason"].tolist() == ["too_short"]
    assert collect_garbage(Workspace(tmp_path)) == []
    assert sha256("s") in StripStore(FeatureDirectory(store)).strips


def test_only_what_was_confirmed_goes(tmp_path: Path) -> None:
    store = open_feature_directory(FEATURES, Workspace(tmp_path)).path
    write_part(store, "ab")
    catalogue = write_catalogue(store, "ab", tmp_path)
    first = write_artefact("splits", {"catalogue": artefact_key(catalogue)}, tmp_path)
    shown = find_garbage(Workspace(tmp_path))
    second = write_artefact("splits", {"catalogue": artefact_key(catalogue), "other": "x"}, tmp_path)
    collect_garbage(Workspace(tmp_path), shown)
    assert not first.exists()
    assert second.is_dir()
