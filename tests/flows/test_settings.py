"""Names that settings give."""

from pathlib import Path

import pytest

from flows.settings import name_worker


def test_workers_of_two_homes_have_two_names(tmp_path: Path) -> None:
    assert name_worker(str(tmp_path / "one")) != name_worker(str(tmp_path / "two"))


def test_worker_of_one_home_has_one_name_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("one")
    names = {name_worker(home) for home in ("one", "~/one", "link", f"{tmp_path}/two/../one")}
    assert len(names) == 1
