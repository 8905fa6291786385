"""A log-mel network and a head on embeddings as one ensemble, from audio to the report and new recordings."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from prefect.artifacts import Artifact
from prefect.settings import PREFECT_API_URL, temporary_settings

from birdclef.baseline import BASELINE
from birdclef.config.augment import EmbeddingAugmentConfig
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace
from flows.experiment import load_arms, load_config
from flows.prefect_ui.artifacts import find_ancestors, page_key

PROJECT = Path(__file__).resolve().parents[2]


def read_members() -> dict[str, Any]:
    """Returns the head of embeddings.yaml and the network of demo.yaml by name."""
    members: dict[str, Any] = {}
    for name in ("embeddings", "demo"):
        members |= yaml.safe_load((PROJECT / "configs" / f"{name}.yaml").read_text())["train"]
    return members


@pytest.fixture(scope="module")
def fusion(
    corpus: Path,
    tiny_overrides: list[str],
    describe_tiny_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[str]]:
    """Returns an experiment with a head and a network, and what makes it small."""
    description = describe_tiny_model()
    known = pd.read_csv(corpus / "train_metadata.csv")["scientific_name"].drop_duplicates().head(4)
    (description.parent / "labels.txt").write_text("".join(f"{name}_x\n" for name in known))
    experiment = yaml.safe_load((PROJECT / "configs" / "demo.yaml").read_text())
    experiment |= {
        "train": read_members(),
        "member_features": {"head": {"kind": "embedding", "model": str(description)}},
    }
    noise = tmp_path_factory.mktemp("noise")
    soundfile.write(noise / "rain.wav", np.random.default_rng(1).normal(0, 0.1, 48_000), 16_000)
    (noise / "broken.wav").write_text("not audio")
    experiment["data"]["background"] = str(noise)
    path = tmp_path_factory.mktemp("fusion") / "fusion.yaml"
    path.write_text(yaml.safe_dump(experiment, sort_keys=False))
    own = [f"train.cnn.{setting.removeprefix('train.*.')}" for setting in tiny_overrides if "backbone" in setting]
    shared = [setting for setting in tiny_overrides if "backbone" not in setting]
    return path, [*shared, *own]


@pytest.fixture(scope="module")
def fused(birdclef: Callable[..., Any], fusion: tuple[Path, list[str]]) -> Path:
    """Returns the report."""
    experiment, overrides = fusion
    done = birdclef("run", str(experiment), *overrides, "--workspace", str(experiment.parent / "workspace"))
    assert done.returncode == 0, done.stderr
    assert "embeddings of Tiny, whose weights are licensed under CC0" in done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


def test_members_read_their_own_features_on_the_same_folds(fused: Path) -> None:
    report = json.loads((fused / "report.json").read_text())
    assert [member["name"] for member in report["members"]] == ["head", "cnn"]
    assert report["members"][0]["weights"] == "embeddings of Tiny (CC0)"
    runs = [read_provenance(path)["inputs"] for path in sorted((fused.parent.parent / "runs").iterdir())]
    assert len({run["split"] for run in runs}) == 1
    assert sum("features" in run for run in runs) == 2  # folds of the head
    backgrounds = {
        path.name: read_provenance(path)["inputs"] for path in (fused.parent.parent / "backgrounds").iterdir()
    }
    assert {run["background"] for run in runs} == set(backgrounds)
    assert sorted(sum(name.startswith("copy_") for name in inputs) for inputs in backgrounds.values()) == [0, 2]
    assert all(("features" in run) == ("copy_1" in backgrounds[run["background"]]) for run in runs)
    (other,) = report["lineage"]["member_features"]
    assert other["config"]["model"]["licence"] == "CC0"
    assert "kind" not in report["lineage"]["features"]["config"]


def test_unusable_file_of_the_background_is_shown_with_its_reason(fused: Path, prefect_server: str) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        table = Artifact.get("background-quarantine")
    assert table
    assert [(row["recording_id"], row["reason"]) for row in json.loads(table.data)] == [("broken.wav", "undecodable")]


def test_noise_and_copies_are_verified_and_kept(
    birdclef: Callable[..., Any], fused: Path, fusion: tuple[Path, list[str]]
) -> None:
    experiment, overrides = fusion
    workspace = fused.parent.parent
    done = birdclef("verify", str(experiment), *overrides, "--workspace", str(workspace))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is sound.") == len(list((workspace / "features").iterdir())) == 4
    done = birdclef("gc", "--workspace", str(workspace))
    assert done.returncode == 0, done.stderr
    assert "There is nothing to remove" in done.stdout


def test_report_tells_what_the_models_own_labels_reach_and_whom_they_lack(fused: Path) -> None:
    report = json.loads((fused / "report.json").read_text())
    zero_shot = report["zero_shot"]
    assert (zero_shot["model"], zero_shot["species_covered"], zero_shot["species"]) == ("Tiny", 4, 20)
    assert len(zero_shot["not_covered"]) == 16
    assert 0 <= zero_shot["macro_f1"]["low"] <= zero_shot["macro_f1"]["high"] <= 1
    for page in ("report.md", "report.html"):
        text = (fused / page).read_text()
        assert "Tiny has own labels for 4 of the 20 species" in " ".join(text.split())
        assert "embeddings of Tiny. Its weights have the licence" in " ".join(text.split())


def test_every_artefact_behind_a_report_has_the_page_that_the_report_links_to(fused: Path, prefect_server: str) -> None:
    parts = find_ancestors(fused, Workspace.containing(fused))
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        lacking = [page_key(part) for part in parts if Artifact.get(page_key(part)) is None]
    assert len(parts) > 5
    assert lacking == []


def test_report_judges_new_recordings_with_both_front_ends(
    birdclef: Callable[..., Any], fused: Path, corpus: Path, tmp_path: Path
) -> None:
    folder = min(path for path in (corpus / "train_audio").iterdir() if len(list(path.iterdir())) > 1)
    sound = np.random.default_rng(0).normal(0, 0.1, 73_600)  # 2.3 s, whose end is none of the head's windows
    soundfile.write(tmp_path / "r.wav", sound, 32_000)
    done = birdclef("predict", str(fused), str(folder), str(tmp_path / "r.wav"), "--output", str(tmp_path / "new.csv"))
    assert done.returncode == 0, done.stderr
    with (tmp_path / "new.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) >= len(list(folder.iterdir()))
    names = [row["row_id"] for row in rows]
    assert len(set(names)) == len(names)
    assert [name for name in names if name.startswith("r_")] == ["r_1", "r_2", "r_3"]
    for row in rows:
        assert sum(float(value) for value in list(row.values())[1:]) == pytest.approx(1, abs=1e-3)


@pytest.mark.soak
def test_compare_holds_heads_beside_the_network_and_fused_with_it(
    birdclef: Callable[..., Any], fused: Path, fusion: tuple[Path, list[str]]
) -> None:
    experiment, overrides = fusion
    workspace = str(fused.parent.parent)
    options = ("--arm", "joint", "--epochs", "1", "--seeds", "1", "--workspace", workspace)
    done = birdclef("compare", str(experiment), *overrides, *options)
    assert done.returncode == 0, done.stderr
    contest = json.loads((Path(done.stdout.splitlines()[-1]) / "comparison.json").read_text())
    assert [entry["name"] for entry in contest["arms"]] == ["ce", "joint", "cnn", "ce + cnn", "joint + cnn"]
    assert [entry["name"] for entry in contest["baselines"]] == [BASELINE, "own labels of Tiny, 4 of 20 species"]


def test_arm_may_not_have_the_name_of_a_member(fusion: tuple[Path, list[str]]) -> None:
    experiment, overrides = fusion
    with pytest.raises(ValueError, match="'cnn' has the name of a member"):
        load_arms(experiment, overrides, ["cnn model.dropout=0.1"])


def test_settings_that_do_not_fit_a_members_features_are_refused_before_anything_runs(tiny_model: Path) -> None:
    path = PROJECT / "configs" / "embeddings.yaml"
    model = f"features.model={tiny_model}"
    with pytest.raises(ValueError, match=r"train\.head: predict\.gain_db=\[3\.0\] changes a spectrum"):
        load_config(path, [model, "predict.gain_db=[3.0]"])
    with pytest.raises(ValueError, match=r"train\.head: clip_seconds=5 .* an embedding every 3 s: take 3 or 6"):
        load_config(path, [model, "features.stride_seconds=3", "train.head.clip_seconds=5"])
    with pytest.raises(ValueError, match=r"train\.head: predict\.shift_seconds=-1\.25 is not .* to 0\.3125\.$"):
        load_config(path, [model, "predict.shift_seconds=[-1.25, 0, 1.25]"])
    with pytest.raises(ValueError, match=r"train\.head: model\.backbone=resnet18 does not read"):
        load_config(path, [model, "train.head.model.backbone=resnet18"])
    with pytest.raises(ValueError, match="member_features names 'heads', but train only has head"):
        load_config(path, [model, "member_features.heads.n_mels=32"])


@pytest.mark.parametrize(
    "augment", ["{}", "{noise_probability: 0.3}", "{mixup_alpha: 0.2}", "{background_probability: 0.1}"]
)
def test_every_augmentation_of_embeddings_loads_without_its_defaults(augment: str, tiny_model: Path) -> None:
    settings = [f"features.model={tiny_model}", f"train.head.augment={augment}"]
    head = load_config(PROJECT / "configs" / "embeddings.yaml", settings).train["head"]
    assert head.augment.model_dump() == {**EmbeddingAugmentConfig().model_dump(), **yaml.safe_load(augment)}


@pytest.mark.parametrize("name", ["embeddings", "fusion"])
def test_shipped_experiments_and_all_arms_of_them_fit_the_strides_of_birdnet(name: str, tiny_model: Path) -> None:
    birdnet = yaml.safe_load((PROJECT / "cache" / "models" / "birdnet_v2.4.yaml").read_text())
    same_strides = [f"features.model={tiny_model}", f"features.stride_seconds={birdnet['stride_seconds']}"]
    assert load_arms(PROJECT / "configs" / f"{name}.yaml", same_strides, ())
