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
    text = Path("configs/small.yaml").read_text()
    config.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.yaml is one of the files to read\. Name another file\."):
        preview_augment(config, [f"data.root={tmp_path}"], str(tmp_path / "workspace"), config)
    assert config.read_text() == text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("table.csv", r"table\.csv is one of the files to read\. Name another file"),
        ("taxonomy.csv", r"taxonomy\.csv is one of the files to read\. Name another file"),
        ("sounds/x/a.png", r"lies in .*/sounds, a folder of files to read\. Name a file elsewhere"),
        ("wind/a.png", r"lies in .*/wind, a folder of files to read\. Name a file elsewhere"),
        ("notes.txt", r"notes\.txt would replace a file that is no PNG picture\. Name another file"),
    ],
)
def test_preview_replaces_and_adds_no_file_of_the_data_set(tmp_path: Path, name: str, message: str) -> None:
    for file in ("table.csv", "taxonomy.csv", "notes.txt"):
        (tmp_path / file).write_text("text\n")
    for folder in ("sounds", "wind"):
        (tmp_path / folder).mkdir()
    places = ["data.metadata=table.csv", "data.audio=sounds", f"data.background={tmp_path}/wind"]
    with pytest.raises(ValueError, match=message):
        preview_augment(Path("small"), [f"data.root={tmp_path}", *places], str(tmp_path / "workspace"), tmp_path / name)
    assert (tmp_path / "table.csv").read_text() == "text\n"
