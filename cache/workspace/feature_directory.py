"""The directory of one feature store in a workspace."""

from dataclasses import dataclass
from pathlib import Path

from cache.workspace.mirror import Mirror, publish_file, read_published_file


@dataclass(frozen=True)
class FeatureDirectory:
    """Where the strips of one feature configuration lie. Unlike other artefacts it grows.

    Attributes:
        path: The directory on this machine.
        mirror: The workspace's copy at a URL; None: the workspace is a folder.
    """

    path: Path
    mirror: Mirror | None = None

    @property
    def key(self) -> str:
        """Key of the feature configuration."""
        return self.path.name

    @property
    def address(self) -> str:
        """Where other machines find the directory: at the URL, or here."""
        return self.mirror.address(self.path) if self.mirror else str(self.path)

    def publish(self, name: str, content: bytes) -> None:
        """Write one file of the directory, given by its relative path, here and at the URL."""
        publish_file(self.path / name, content, self.mirror)

    def fetch(self, name: str) -> Path:
        """Returns the path of one file of the directory, fetched if it is only at the URL.

        Raises:
            FileNotFoundError: If the file is nowhere.
        """
        path = self.path / name
        if not path.is_file() and self.mirror and (content := read_published_file(path, self.mirror)):
            publish_file(path, content, None)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is gone. Run the features stage again.")
        return path
