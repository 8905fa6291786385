"""Finds presets by name. They are the YAML files of `configs/`; an installed package contains them."""

from pathlib import Path

from cache.workspace.urls import expand_home
from flows.configuration.suggestion import suggest

_FLOWS = Path(__file__).resolve().parents[1]


def preset_directory() -> Path:
    """Returns the folder of the presets: `flows/configs` in an installed package, `configs` in a clone."""
    installed = _FLOWS / "configs"
    return installed if installed.is_dir() else _FLOWS.parent / "configs"


def list_presets() -> list[str]:
    """Returns the names of the presets, sorted."""
    return sorted(path.stem for path in preset_directory().glob("*.yaml"))


def read_argument(text: str) -> Path:
    """Returns a configuration that a user names; `./small` is the file `small` and not the preset.

    A `Path` forgets a leading `./`, so such a path becomes absolute.
    """
    config = expand_home(text)
    return config if str(config) == text or config.name != str(config) else config.absolute()


def is_preset(config: Path) -> bool:
    """Returns whether a configuration is the bare name of a preset, such as `small`, and not a path."""
    return config.name == str(config) and str(config) in list_presets()


def find_config(config: Path) -> Path:
    """Returns the YAML file of a configuration.

    Args:
        config: Name of a preset, such as `small`, or path of a YAML file.

    Raises:
        FileNotFoundError: If there is no such preset and no such file; the message lists those that exist.
    """
    if is_preset(config):
        return preset_directory() / f"{config}.yaml"
    if config.is_file():
        return config
    presets = list_presets()
    listed = f"Presets: {', '.join(presets)}"
    if config.name == str(config) and not config.suffix:
        near = suggest(str(config), presets) or "."
        raise FileNotFoundError(f"There is no preset {str(config)!r}{near} {listed}. Or give the path of a YAML file.")
    beside = ", ".join(str(path) for path in sorted(config.parent.glob("*.yaml"))) or "none"
    near = suggest(config.stem, presets) or "."
    raise FileNotFoundError(f"{config}: no such configuration{near} Configurations in this folder: {beside}. {listed}.")
