"""Which member a preview of augmentations shows, called as the command line does."""

from pathlib import Path

import pytest

from flows.command_line.previews import preview_augment


def test_member_that_reads_log_mel_is_drawn_though_it_is_the_second(
    corpus: Path, tiny_model: Path, tmp_path: Path
) -> None:
    settings = [
        f"data.root={corpus}",
        f"features.model={tiny_model}",
        "member_features.cnn.n_mels=16",
        "train.*.clip_seconds=1",
        "predict.stride_seconds=1",
    ]
    picture = tmp_path / "augment.png"
    preview_augment(Path("fusion"), settings, str(tmp_path / "workspace"), picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_embeddings_are_refused_before_anything_is_computed(tiny_model: Path, tmp_path: Path) -> None:
    settings = [f"features.model={tiny_model}", f"data.root={tmp_path}/absent"]
    workspace = tmp_path / "workspace"
    with pytest.raises(ValueError, match=r"all members read features\.kind=embedding"):
        preview_augment(Path("embeddings"), settings, str(workspace), tmp_path / "augment.png")
    assert not workspace.exists()


def test_preview_does_not_replace_its_configuration(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("train: {}\n")
    with pytest.raises(ValueError, match=r"mine\.yaml is one of the files to read\. Name another file\."):
        preview_augment(config, [], str(tmp_path / "workspace"), config)
    assert config.read_text() == "train: {}\n"
