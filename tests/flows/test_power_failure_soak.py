"""Power failures: what had reached the disk is copied again and again, and each copy is used as after a restart.

The workspace lies on a file system in an image file. What was not flushed is in memory and not in the image. So a copy
of the image is the disk of a machine that loses power at this moment.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cache.store.strip_store import StripStore
from cache.verify import find_damage
from cache.workspace.keys import file_key
from cache.workspace.provenance import read_provenance
from cache.workspace.workspace import Workspace

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.ext4"), reason="needs root and mkfs.ext4"),
]

PROJECT = Path(__file__).resolve().parents[2]
ROUNDS = 6
CUTS = 10
ENDED = 2
"""Copies of each round from which the pipeline is run to its end."""
HARSH = "loop,commit=1,data=writeback,noauto_da_alloc"
"""Names reach the disk after a second, and content that is not flushed much later."""


def command(workspace: Path, overrides: list[str]) -> list[str]:
    longer = [*overrides, "train.*.epochs=8", "train.*.model.backbone=test_resnet"]
    return [
        *(sys.executable, "-m", "flows.command_line.entry", "run", "configs/demo.yaml"),
        *(*longer, "--workspace", str(workspace)),
    ]


def finish(workspace: Path, overrides: list[str], environment: dict[str, str]) -> Path:
    """Returns the report's directory."""
    done = subprocess.run(
        command(workspace, overrides), cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


@contextmanager
def mounted(image: Path, options: str) -> Iterator[Path]:
    """Yields the workspace on the file system of an image."""
    folder = image.with_suffix("")
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", options, str(image), str(folder)], check=True)
    try:
        yield folder / "workspace"
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def make_image(image: Path) -> None:
    with image.open("wb") as stream:
        stream.truncate(200_000_000)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)


def cut(image: Path, copy: Path, group: int) -> None:
    """Copy an image while nothing of a process group writes."""
    os.killpg(group, signal.SIGSTOP)
    try:
        subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
    finally:
        os.killpg(group, signal.SIGCONT)


def find_torn(workspace: Path) -> list[str]:
    """Returns the files of finished artefacts, and the parts of stores, that differ from their digests."""
    torn = []
    for artefact in Workspace(workspace).artefacts():
        for name, digest in read_provenance(artefact)["files"].items():
            if not (artefact / name).is_file() or file_key(artefact / name) != digest:
                torn.append(str((artefact / name).relative_to(workspace)))
    for artefact in Workspace(workspace).artefacts("features"):
        store = Workspace(workspace).feature_directory(artefact.name)
        damages = find_damage(store, 1.0, np.random.default_rng(0))
        # An array without its fragment is what any killed build leaves; the next one makes the part again.
        torn += [f"{each.part}: {each.problem}" for each in damages if each.problem != "the index fragment is missing"]
        StripStore(store)
    return torn


def read_result(report: Path) -> tuple[str, object, list[str]]:
    """Returns key and metrics of a report, and the digests of all weights of its workspace."""
    metrics = json.loads((report / "report.json").read_text())["metrics"]
    return report.name, metrics, sorted(map(file_key, report.parents[1].glob("runs/*/weights.safetensors")))


def test_what_is_finished_before_a_power_failure_is_whole_after_it(
    tiny_overrides: list[str], prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    started = time.monotonic()
    calm = read_result(finish(tmp_path / "calm", tiny_overrides, prefect_environment))
    seconds = time.monotonic() - started
    generator = np.random.default_rng(0)
    found: list[tuple[int, list[str]]] = []
    for number in range(ROUNDS):
        image = tmp_path / f"disk-{number}.img"
        make_image(image)
        with mounted(image, HARSH) as workspace:
            process = subprocess.Popen(
                command(workspace, tiny_overrides), cwd=PROJECT, env=prefect_environment, start_new_session=True
            )
            begun, copies = time.monotonic(), []
            for moment in np.sort(generator.uniform(0.3, 1.1, CUTS)) * seconds:  # the last ones after the end
                time.sleep(max(0.0, begun + moment - time.monotonic()))
                if process.poll() is None:
                    copies.append(tmp_path / f"cut-{number}-{len(copies)}.img")
                    cut(image, copies[-1], process.pid)
            assert process.wait() == 0
            time.sleep(generator.uniform(1, 8))
            copies.append(tmp_path / f"cut-{number}-end.img")
            subprocess.run(["cp", "--sparse=always", str(image), str(copies[-1])], check=True)
        ended = set(generator.choice(len(copies), ENDED, replace=False))
        for index, copy in enumerate(copies):
            with mounted(copy, "loop") as workspace:
                finished = len(list(Workspace(workspace).artefacts()))
                found.append((finished, find_torn(workspace)))
                if index in ended:
                    assert read_result(finish(workspace, tiny_overrides, prefect_environment)) == calm
            copy.unlink()
        image.unlink()
    numbers = [finished for finished, _ in found]
    print(f"{len(found)} power failures, finished artefacts {numbers}")  # noqa: T201 - what a soak run reports
    assert len(found) >= 50
    assert min(numbers) == 0
    assert max(numbers) >= 7
    assert [torn for _, torn in found if torn] == []
