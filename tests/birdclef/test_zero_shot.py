"""A store of embeddings written by hand: what the model's own labels say is computed by hand from its scores."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from birdclef.baseline import EMBEDDING_BASELINE, baseline_name, predict_baseline
from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.classification import macro_f1
from birdclef.metrics.predictions import Predictions
from birdclef.scores.own_labels import describe_own_labels
from birdclef.scores.scorer import build_scorer
from birdclef.strips.fold import read_labelled_recordings
from birdclef.zero_shot import match_labels, predict_zero_shot
from cache.catalogue import build_catalogue
from cache.config.data import DataConfig
from cache.config.features import EmbeddingConfig
from cache.config.split import SplitConfig
from cache.features import open_feature_directory
from cache.split import build_split
from cache.store.part_writer import PartWriter
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.workspace import Workspace

NAMES = {"barwre": "Troglodytes barensis", "cdove": " columba | CAUTA", "zebra": "Equus avis"}  # the model knows two
PLACES = {"barwre": 0, "cdove": 1}  # in its labels


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def catalogue(workspace: Path, tiny_model: Path) -> Path:
    """Nine recordings of each species; windows score their species 0.6 and the other known one 0.3, but every third."""
    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": str(tiny_model)})
    store = open_feature_directory(features, Workspace(workspace)).path
    generator = np.random.default_rng(0)
    rows = []
    with PartWriter(FeatureDirectory(store), 4, score_columns=4) as writer:
        for number, (label, scientific) in enumerate(NAMES.items()):
            for index in range(9):
                name = f"{label}/{index}.ogg"
                sha256 = hashlib.sha256(name.encode()).hexdigest()
                embeddings = generator.normal(3 * np.eye(4)[number], 0.5, (3, 4))
                scores = np.full((3, 4), 0.01)
                scores[:, [0, 1]] = (0.6, 0.3) if (label == "barwre") != (index % 3 == 0) else (0.3, 0.6)
                strip = np.hstack([embeddings, scores]).astype(np.float32)
                writer.add_strip(sha256, strip, log_mel=np.zeros((9, 2), np.float32), seconds=2.0 + index / 10)
                rows.append([name, label, f"{label} {index}", scientific, sha256])
        writer.publish()
    columns = ["recording_id", "label", "recordist", "scientific_name", "sha256"]
    table = pd.DataFrame(rows, columns=columns).assign(size=1, version="1", secondary_labels="")
    return build_catalogue(table, DataConfig(root="unused"), FeatureDirectory(store), Workspace(workspace))


@pytest.fixture(scope="module")
def split(catalogue: Path, workspace: Path) -> Path:
    return build_split(SplitConfig(folds=3), catalogue, Workspace(workspace))


def test_labels_are_mapped_by_scientific_name_and_gaps_are_left_empty(split: Path, workspace: Path) -> None:
    predictions = predict_zero_shot(split, Workspace(workspace))
    assert predictions is not None
    mapping = pd.read_csv(predictions / "labels.csv", keep_default_na=False).set_index("label")["own_label"]
    assert mapping.to_dict() == {
        "barwre": "Troglodytes barensis_Some Bird",
        "cdove": "Columba | cauta_Some Bird",
        "zebra": "",
    }
    probabilities = np.load(predictions / "probabilities.npy")[0]
    labels = pd.read_csv(predictions / "recordings.csv")["label"]
    assert probabilities[:, 2].tolist() == [0] * 27  # nobody is said to be a zebra
    right = (labels == "barwre").to_numpy()
    swapped = pd.read_csv(predictions / "recordings.csv")["recording_id"].str.contains("[036].ogg").to_numpy()
    np.testing.assert_allclose(probabilities[right & ~swapped, 0], 2 / 3, atol=1e-3)
    np.testing.assert_allclose(probabilities[right & swapped, 0], 1 / 3, atol=1e-3)


def test_species_without_a_scientific_name_are_matched_by_label_or_common_name() -> None:
    own = ["Turdus merula_Common Blackbird", "Corvus corax_Raven", "Engine_", "Parus major_Great Tit"]
    species = [
        {"label": "turmer1", "scientific_name": "Turdus Merula ", "common_name": ""},
        {"label": "Corvus_corax", "scientific_name": "", "common_name": ""},
        {"label": "gretit1", "scientific_name": "", "common_name": "great tit"},
        {"label": "gretit2", "scientific_name": "Parus minor", "common_name": "Great Tit"},  # split off it
        {"label": "raven", "scientific_name": "Turdus merula", "common_name": "Raven"},
        {"label": "nobody", "scientific_name": "", "common_name": ""},
    ]
    assert match_labels(species, own) == [0, 1, 3, -1, 0, -1]


def test_own_labels_and_members_are_scored_on_covered_species_only(
    split: Path, catalogue: Path, workspace: Path
) -> None:
    predictions = predict_zero_shot(split, Workspace(workspace))
    assert predictions is not None
    recordings = read_labelled_recordings(split, catalogue)
    scorer = build_scorer(recordings, ["a", "b", "c"], EvaluateConfig(bootstrap_samples=50), np.random.default_rng(0))
    perfect = Predictions(np.eye(3)[scorer.labels])
    described = describe_own_labels(predictions, recordings, perfect, scorer)
    assert (described["species_covered"], described["species"], described["recordings"]) == (2, 3, 18)
    assert described["not_covered"] == [{"label": "zebra", "scientific_name": "Equus avis"}]
    assert described["accuracy"] == pytest.approx(12 / 18)  # every third is taken for the other
    assert described["macro_f1"]["value"] == pytest.approx(2 / 3)
    assert described["members_macro_f1"]["value"] == 1.0
    assert described["difference_macro_f1"]["value"] == pytest.approx(1 / 3)
    assert 0 < described["difference_macro_f1"]["low"] <= described["difference_macro_f1"]["high"]
    # Zebras are taken for barwre (3) and cdove (6), so these are predicted 12 and 15 times, and 6 times rightly.
    everywhere = (2 * 6 / (9 + 12) + 2 * 6 / (9 + 15) + 0) / 3
    assert described["all_species"]["macro_f1"] == pytest.approx(everywhere)
    assert described["all_species"]["difference_macro_f1"]["value"] == pytest.approx(1 - everywhere)


def test_log_mel_has_no_labels_of_its_own(evaluation_split: Path, evaluation_workspace: Path) -> None:
    assert predict_zero_shot(evaluation_split, Workspace(evaluation_workspace)) is None


def test_baseline_reads_mean_embeddings(split: Path, catalogue: Path, workspace: Path) -> None:
    predictions = predict_baseline(split, Workspace(workspace))
    assert baseline_name(predictions) == EMBEDDING_BASELINE
    labels = read_labelled_recordings(split, catalogue)["label_index"].to_numpy()
    probabilities = np.load(predictions / "probabilities.npy")[0]
    assert macro_f1(Predictions(probabilities), labels)[0] == 1.0  # three clouds far apart
