"""The directory of one feature store in a workspace."""

from dataclasses import dataclass
from pathlib import Path

from cache.workspace.mirror import Mirror, publish_file, read_published_file


@dataclass(frozen=True)
class FeatureDirectory:
    """The directory with the strips of one feature configuration. Unlike other artefacts, it grows.

    Attributes:
        path: Path of the directory on this machine.
        mirror: Mirror of the workspace's URL; None: the workspace is a folder of this machine.
    """

    path: Path
    mirror: Mirror | None = None

    @property
    def key(self) -> str:
        """Key of the feature configuration."""
        return self.path.name

    @property
    def address(self) -> str:
        """Address of the directory for other machines: its URL, or its path if there is no URL."""
        return self.mirror.address(self.path) if self.mirror else str(self.path)

    def publish(self, name: str, content: bytes) -> None:
        """Write one file of the directory on this machine, and at the URL if there is one.

        Args:
            name: Path of the file, relative to the directory.
            content: Content of the file.
        """
        publish_file(self.path / name, content, self.mirror)

    def fetch(self, name: str) -> Path:
        """Returns the path of one file of the directory; a file that is only at the URL is fetched.

        Raises:
            FileNotFoundError: If the file is neither here nor at the URL.
        """
        path = self.path / name
        if not path.is_file() and self.mirror and (content := read_published_file(path, self.mirror)):
            publish_file(path, content, None)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is gone. Run the features stage again.")
        return path
