"""The hub does not answer; runs are only their provenance."""

from pathlib import Path

import pytest

from birdclef.config.model import ModelConfig
from birdclef.model import hub
from birdclef.model.model_check import check_model
from cache.workspace.keys import Recipe
from cache.workspace.workspace import Workspace


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    models: list[str] = []
    monkeypatch.setattr(hub, "check_hub", models.append)
    return models


def test_hub_is_asked_only_if_no_run_began_with_its_weights(tmp_path: Path, asked: list[str]) -> None:
    workspace, config = Workspace(tmp_path), ModelConfig(backbone="resnet18", weights="hub")
    check_model(config, workspace)
    assert asked == ["resnet18"]
    for model in (config.model_copy(update={"weights": "none"}), config.model_copy(update={"backbone": "resnet34"})):
        recipe = Recipe("runs", {"model": model.model_dump(mode="json")}, {}, 1)
        workspace.materialise(recipe, lambda staging: None)
    check_model(config, workspace)
    assert asked == ["resnet18"] * 2
    workspace.materialise(Recipe("runs", {"model": config.model_dump(mode="json")}, {}, 1), lambda staging: None)
    check_model(config, workspace)
    assert asked == ["resnet18"] * 2


@pytest.mark.parametrize("config", [ModelConfig(), ModelConfig(backbone="mean_pool", weights="hub")])
def test_model_without_weights_asks_nobody(config: ModelConfig, tmp_path: Path, asked: list[str]) -> None:
    check_model(config, Workspace(tmp_path))
    assert asked == []


def test_weight_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.weights=.*gone\.pth is no file"):
        check_model(ModelConfig(weights=str(tmp_path / "gone.pth")), Workspace(tmp_path))


def test_unknown_backbone_is_told_with_near_names_unless_a_run_began_with_it(tmp_path: Path) -> None:
    workspace, config = Workspace(tmp_path), ModelConfig(backbone="resnet5")
    with pytest.raises(ValueError, match=r"timm has no model 'resnet5'\. Near names: .*resnet50"):
        check_model(config, workspace)
    workspace.materialise(Recipe("runs", {"model": config.model_dump(mode="json")}, {}, 1), lambda staging: None)
    check_model(config, workspace)
