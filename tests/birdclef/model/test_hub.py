"""The hub is a function that counts how often it is asked; nothing is sent."""

from pathlib import Path

import pytest
from huggingface_hub.errors import EntryNotFoundError

from birdclef.model import hub
from birdclef.model.network import create_backbone

MODEL = "tf_efficientnet_lite0.in1k"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The URLs that the hub was asked for; no network answers."""
    urls: list[str] = []

    def fail(url: str, **_: object) -> None:
        urls.append(url)
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "get_hf_file_metadata", fail)
    monkeypatch.setattr(hub, "check_cached_file", lambda _: False)
    return urls


def test_hub_that_does_not_answer_is_asked_once(asked: list[str]) -> None:
    with pytest.raises(FileNotFoundError, match=r"^The pretrained weights of .* \(ConnectionError: no route to host\)"):
        create_backbone(MODEL, 0.0, pretrained=True)
    assert len(asked) == 1
    assert asked[0].endswith(f"timm/{MODEL}/resolve/main/model.safetensors")


def test_weights_on_this_machine_need_no_hub(asked: list[str], tmp_path: Path) -> None:
    stored = tmp_path / f"models--timm--{MODEL}"
    (stored / "snapshots" / "abc").mkdir(parents=True)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("abc")
    (stored / "snapshots" / "abc" / "pytorch_model.bin").touch()
    hub.check_hub(MODEL)
    assert asked == []


def test_hub_that_answers_without_the_first_file_is_enough(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    def answer(url: str, **_: object) -> None:
        asked.append(url)
        raise EntryNotFoundError("404")

    monkeypatch.setattr(hub, "get_hf_file_metadata", answer)
    hub.check_hub(MODEL)
    assert len(asked) == 1
