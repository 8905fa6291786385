"""Weights in the names of `efficientnet_pytorch`, held against a network with these names in plain PyTorch."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from birdclef.config.model import ModelConfig
from birdclef.model.efficientnet_names import rename_for_timm
from birdclef.model.network import build_model, create_backbone

LITE0 = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
"""Stages of EfficientNet-Lite0: blocks, kernel, stride of the first block, expansion, channels."""


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding `SAME`: ceil(size / stride) outputs, the odd cell at the end."""

    def forward(self, x: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        both = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (x.shape[3], x.shape[2])]
        padding = [part for total in both for part in (total // 2, total - total // 2)]
        return functional.conv2d(functional.pad(x, padding), self.weight, None, self.stride, 0, 1, self.groups)


def norm(channels: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(channels, eps=1e-3)
    for tensor, low, high in (
        (made.weight, 0.5, 1.5),
        (made.bias, -0.5, 0.5),
        (made.running_mean, -0.3, 0.3),
        (made.running_var, 0.5, 2.0),
    ):
        assert tensor is not None
        nn.init.uniform_(tensor, low, high)
    return made


class Block(nn.Module):
    """An inverted residual block (Sandler et al. 2018), with the attributes that the package gives it."""

    def __init__(self, width: int, kernel: int, stride: int, expansion: int, out: int) -> None:
        super().__init__()
        inner = width * expansion
        if expansion > 1:
            self._expand_conv = SameConv(width, inner, 1, bias=False)
            self._bn0 = norm(inner)
        self._depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = norm(inner)
        self._project_conv = SameConv(inner, out, 1, bias=False)
        self._bn2 = norm(out)
        self.residual = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        out: Tensor = self._bn2(self._project_conv(inner))
        return x + out if self.residual else out


class Lite0(nn.Module):
    """EfficientNet-Lite0 up to its pooled features, with the attributes that the package gives it."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = norm(32)
        blocks, width = [], 32
        for repeats, kernel, stride, expansion, out in LITE0:
            for index in range(repeats):
                blocks.append(Block(width, kernel, 1 if index else stride, expansion, out))
                width = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(320, 1280, 1, bias=False)
        self._bn1 = norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Returns pooled features, (batch, 1280), of images, (batch, 3, height, width)."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    made = Lite0().eval()
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)  # PyTorch's own start shuts the blocks, so nothing comes through
    return made


def test_file_of_the_package_computes_what_its_network_computes(network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "lite0.pth")
    config = ModelConfig(backbone="tf_efficientnet_lite0", weights=str(tmp_path / "lite0.pth"))
    backbone = build_model(config, 5).eval().backbone
    grey = torch.randn(2, 1, 40, 75, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(backbone(grey), expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 1e-2 * expected.abs().max()


def test_blocks_with_squeeze_and_excitation_have_names_too() -> None:
    names = {
        "_conv_stem.weight": "conv_stem.weight",
        "_blocks.0._se_reduce.bias": "blocks.0.0.se.conv_reduce.bias",
        "_blocks.1._expand_conv.weight": "blocks.1.0.conv_pw.weight",
        "_blocks.1._se_expand.weight": "blocks.1.0.se.conv_expand.weight",
        "_blocks.2._expand_conv.weight": "blocks.1.1.conv_pw.weight",
        "_blocks.2._bn2.running_var": "blocks.1.1.bn3.running_var",
    }  # names of EfficientNet-B0, whose second stage has two blocks
    wanted = create_backbone("tf_efficientnet_b0", 0.0, pretrained=False).state_dict()
    assert list(rename_for_timm(dict.fromkeys(names, torch.zeros(1)), wanted)) == list(names.values())
    assert set(names.values()) <= wanted.keys()


def test_other_names_stay() -> None:
    state = {"conv_stem.weight": torch.zeros(1), "_blocks.0._bn1.weight": torch.ones(1)}
    assert rename_for_timm(state, ["conv_stem.weight"]) == state


@pytest.mark.parametrize("backbone", ["regnetx_002", "tf_efficientnet_lite1", "mobilenetv2_050"])
def test_file_of_the_package_is_refused_for_another_backbone(network: nn.Module, tmp_path: Path, backbone: str) -> None:
    torch.save(network.state_dict(), tmp_path / "lite0.pth")
    with pytest.raises(ValueError, match=r"lite0\.pth does not fit the backbone: .*same timm model"):
        build_model(ModelConfig(backbone=backbone, weights=str(tmp_path / "lite0.pth")), 5)
