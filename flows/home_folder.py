"""Where libraries keep their files if the user has no home folder, or one that cannot be written."""

import os
import tempfile
from pathlib import Path

_FOLDERS = {
    "PREFECT_HOME": ".prefect",
    "MPLCONFIGDIR": ".config/matplotlib",
    "NUMBA_CACHE_DIR": ".cache/numba",
    "TRITON_CACHE_DIR": ".triton/cache",
    "TORCH_HOME": ".cache/torch",
    "HF_HOME": ".cache/huggingface",
}
"""Variable of each library, and the folder that the library uses without it, relative to the home folder."""
_READ = ("TORCH_HOME", "HF_HOME")
"""These folders may hold pretrained weights, which are read also if nothing can be written there."""


def prepare_home() -> None:
    """Let libraries use a folder for temporary files where they cannot use the home folder; call it before they load.

    Variables that the user has set keep their values.

    Raises:
        OSError: If there is no other folder either.
    """
    home = Path("~")
    try:
        home = home.expanduser()
    except RuntimeError:  # $HOME is not set, and the system knows no user with this number
        os.environ["HOME"] = str(_substitute(home))
        return
    if os.access(home, os.W_OK | os.X_OK):
        return
    for name, folder in _FOLDERS.items():
        usual = home / folder
        usable = os.access(usual, os.W_OK) or (name in _READ and usual.is_dir())
        if not usable and name not in os.environ:
            os.environ[name] = str(_substitute(home) / folder)


def _substitute(home: Path) -> Path:
    """Returns a folder of this user for files that the home folder cannot take."""
    remedy = "Set HOME to a folder that can be written."
    try:
        folder = Path(tempfile.gettempdir()) / f"birdclef-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"The home folder {home} cannot be written, and neither can another ({error}). {remedy}"
        ) from error
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"The home folder {home} cannot be written, and {folder} is of another user. {remedy}")
    return folder
