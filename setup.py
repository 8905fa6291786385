"""Names the packages: those of the folders, and the presets in `configs/`, which are installed as `flows.configs`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["birdclef*", "cache*", "flows*"]), "flows.configs"],
    package_dir={"flows.configs": "configs"},
)
