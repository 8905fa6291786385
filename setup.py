"""Names the packages: those of the folders, and the presets in `configs/`, which are installed as `flows.configs`."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithDeployments(build_py):
    """Copies `prefect.yaml` into the installed package `flows`, where `birdclef serve` finds it outside a clone."""

    def run(self) -> None:
        """Build the packages; an editable installation needs no copy."""
        super().run()
        if not self.editable_mode:
            self.copy_file("prefect.yaml", str(Path(self.build_lib) / "flows" / "prefect.yaml"))


setup(
    packages=[*find_packages(include=["birdclef*", "cache*", "flows*"]), "flows.configs"],
    package_dir={"flows.configs": "configs"},
    cmdclass={"build_py": BuildWithDeployments},
)
