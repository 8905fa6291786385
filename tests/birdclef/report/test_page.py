"""The report on the workspace of tests/conftest.py, read back with the standard library's parsers."""

import csv
import hashlib
import io
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from jsonschema import Draft202012Validator
from matplotlib import image

from birdclef.config.evaluate import EvaluateConfig
from birdclef.metrics.headline import METRIC_TITLES
from birdclef.report import templates
from birdclef.report.mistakes import Exhibit, Mistake, list_errors
from birdclef.report.page import write_report
from birdclef.report.pictures import PICTURE_TITLES
from birdclef.report.rendering import render
from birdclef.scores.report_scores import Scored, score_members
from cache.workspace.workspace import Workspace

CONFIG = EvaluateConfig(bootstrap_samples=30, permutations=3, worst_errors=3, confidence=0.9)
EXPERIMENT = {"data": {"root": "/nowhere"}, "evaluate": CONFIG.model_dump(mode="json")}
HOSTILE_MEMBER = "hub|<script>alert(3)</script>"
HOSTILE_RECORDING = "abbowl/<script>alert(2)</script>|'\"&.ogg"
VOID = {"meta", "br", "input", "img", "link"}
EXTERNAL_ATTRIBUTES = {"src", "href", "srcset", "action", "poster", "data", "background", "formaction"}


class Page(HTMLParser):
    """Elements and texts of a page; fails on an element that is closed by another's tag."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def text_of(self, tag: str) -> list[str]:
        return [text for owner, text in self.texts if owner == tag]

    def attributes_of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def scored(evaluation_members: dict[str, list[Path]], evaluation_baseline: Path, evaluation_workspace: Path) -> Scored:
    return score_members(CONFIG, evaluation_members, evaluation_baseline, Workspace(evaluation_workspace))


@pytest.fixture(scope="module")
def directory(scored: Scored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report")
    write_report(scored, CONFIG, EXPERIMENT, "0123456789abcdef", Workspace(Path("/some where")), path)
    return path


@pytest.fixture(scope="module")
def report(directory: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads((directory / "report.json").read_text(), parse_constant=refuse)


@pytest.fixture(scope="module")
def html(directory: Path) -> str:
    return (directory / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    parser = Page()
    parser.feed(html)
    parser.close()
    return parser


@pytest.fixture(scope="module")
def markdown(directory: Path) -> str:
    return (directory / "report.md").read_text()


def split_cells(line: str) -> list[str]:
    """Returns the cells of a row of a Markdown table; an escaped bar separates nothing."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_directory_holds_the_promised_files(directory: Path) -> None:
    files = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert files == {
        "report.json",
        "report.md",
        "report.html",
        "experiment.yaml",
        "recordings.csv",
        "per_species.csv",
        "errors.csv",
        "oof.npz",
        "plots/f1_against_count.png",
        "plots/confusion.png",
        "plots/reliability.png",
        "plots/embeddings.png",
        "plots/learning_curves.png",
    }


def test_json_has_every_section_and_its_key(report: dict[str, Any]) -> None:
    assert report["key"] == "0123456789abcdef"
    for name in ("macro_f1", "accuracy", "macro_roc_auc", "padded_cmap"):
        assert set(report["metrics"][name]) == {"value", "low", "high", "chance"}
        assert all(isinstance(value, float) for value in report["metrics"][name].values())
    sections = (
        "coverage",
        "buckets",
        "per_species",
        "members",
        "lineage",
        "quarantine",
        "duplicates",
        "split",
        "baseline",
    )
    assert all(report[section] for section in sections)


def test_json_is_what_was_scored(report: dict[str, Any], scored: Scored) -> None:
    assert report["metrics"] == scored.report["metrics"]
    assert report["coverage"] == scored.report["coverage"]
    assert report["members"] == scored.report["members"]


def test_verdict_is_the_first_line_of_every_form(
    report: dict[str, Any], scored: Scored, markdown: str, page: Page
) -> None:
    verdict = report["verdict"]
    assert next(iter(scored.report)) == "verdict"
    assert verdict["sentence"].startswith(("Training paid here: ", "It is unclear ", "Training did not pay here: "))
    assert markdown.startswith(f"**{verdict['sentence']}**")
    (shown,) = [text for _, text in page.texts if text == verdict["sentence"]]
    texts = [text for owner, text in page.texts if owner in ("strong", "small", "span")]
    assert texts.index(shown) == 0


def test_hostile_model_is_escaped_in_the_verdict(report: dict[str, Any]) -> None:
    told = {"report": {"verdict": {"outcome": "paid", "sentence": "a <b>|c", "advice": "d <i>|"}}}
    assert render("verdict.md.j2", told).strip() == "**a &lt;b>\\|c** d &lt;i>\\|"
    assert "<strong>a &lt;b&gt;|c</strong> d &lt;i&gt;|" in render("verdict.html.j2", told)


def test_undefined_number_is_null_in_json(report: dict[str, Any]) -> None:
    (unscored,) = [entry for entry in report["per_species"] if entry["label"] == "eremit"]
    assert [unscored[name] for name in ("recall", "f1", "roc_auc", "average_precision")] == [None] * 4


def test_per_species_table_is_that_of_the_report(directory: Path, report: dict[str, Any]) -> None:
    with (directory / "per_species.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(report["per_species"][0])
    for row, entry in zip(rows, report["per_species"], strict=True):
        for name, value in entry.items():
            if isinstance(value, float):
                assert float(row[name]) == pytest.approx(value)
            else:
                assert row[name] == ("" if value is None else str(value))


def test_errors_are_the_mistaken_recordings_most_confident_first(directory: Path, scored: Scored) -> None:
    with (directory / "errors.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    species = scored.species["label"].tolist()
    expected = []
    for name, label, row, calibrated in zip(
        scored.recordings["recording_id"],
        scored.recordings["label"],
        scored.probabilities.tolist(),
        scored.calibrated.tolist(),
        strict=True,
    ):
        taken = species[row.index(max(row))]
        if taken != label:
            expected.append((-round(max(calibrated), 4), -max(row), name, label, taken))
    assert len(expected) > 5
    wanted = [(confidence, *others) for confidence, _, *others in sorted(expected)]
    assert [(-float(row["confidence"]), *list(row.values())[:3]) for row in rows] == wanted
    assert list(rows[0].values())[:3] == [HOSTILE_RECORDING, "abbowl", "eremit"]


def test_equally_confident_errors_are_sorted_by_recording(scored: Scored) -> None:
    certain = np.eye(5)[(scored.recordings["label_index"].to_numpy() + 1) % 5]
    errors = list_errors(Scored(**{**vars(scored), "probabilities": certain, "calibrated": certain}))
    assert len(errors) == 137
    assert errors["recording_id"].tolist() == sorted(errors["recording_id"])


def test_perfect_predictions_have_no_errors(scored: Scored) -> None:
    perfect = np.eye(5)[scored.recordings["label_index"].to_numpy()]
    errors = list_errors(Scored(**{**vars(scored), "probabilities": perfect, "calibrated": perfect}))
    assert errors.empty
    assert list(errors) == ["recording_id", "label", "predicted", "confidence"]


def test_out_of_fold_archive_holds_the_ensemble(directory: Path, scored: Scored) -> None:
    with np.load(directory / "oof.npz", allow_pickle=False) as archive:
        assert set(archive) == {"recording_id", "label", "species", "probabilities"}
        assert archive["recording_id"].tolist() == scored.recordings["recording_id"].tolist()
        assert archive["label"].tolist() == scored.recordings["label"].tolist()
        assert archive["species"].tolist() == ["abbowl", "barwre", "cdove", "d|<i>finch", "eremit"]
        assert archive["probabilities"].shape == (137, 5)
        np.testing.assert_array_equal(archive["probabilities"], scored.probabilities)


def test_report_follows_its_published_schema(report: dict[str, Any]) -> None:
    schema = json.loads((Path(templates.__file__).parent / "report.schema.json").read_text())
    validator = Draft202012Validator(schema)
    validator.check_schema(schema)
    assert list(validator.iter_errors(report)) == []
    assert list(validator.iter_errors({**report, "confidence": 2}))
    assert list(validator.iter_errors({**report, "surprise": 1}))


def test_recordings_lead_down_to_their_audio(directory: Path, scored: Scored) -> None:
    table = pd.read_csv(directory / "recordings.csv", dtype=str, keep_default_na=False)
    assert table["recording_id"].tolist() == scored.recordings["recording_id"].tolist()
    # tests/conftest.py names the files' digests after them
    assert table["sha256"].tolist() == [hashlib.sha256(name.encode()).hexdigest() for name in table["recording_id"]]
    wrong = table[table["label"] != table["predicted"]]
    assert sorted(wrong["recording_id"]) == sorted(list_errors(scored)["recording_id"])


def test_settings_and_command_repeat_the_report(directory: Path, report: dict[str, Any], html: str) -> None:
    assert yaml.safe_load((directory / "experiment.yaml").read_text()) == EXPERIMENT
    command = shlex.split(report["command"])
    assert command[:2] == ["birdclef", "run"]
    assert command[2:] == ["/some where/reports/0123456789abcdef/experiment.yaml", "--workspace", "/some where"]
    assert "birdclef run &#39;/some where/reports" in html


def test_mistakes_out_of_reach_are_shown_without_sound(html: str) -> None:
    assert "<audio" not in html
    assert html.count("No sound: the recordings were out of reach.") == 6


def test_plots_are_pictures(directory: Path) -> None:
    for path in (directory / "plots").iterdir():
        pixels = image.imread(io.BytesIO(path.read_bytes()), format="png")
        assert min(pixels.shape[:2]) > 300
        assert pixels[:, :, :3].std() > 0.05


def test_elements_of_the_page_are_balanced(page: Page) -> None:
    assert page.open == []
    assert {"table", "thead", "tbody", "details", "article"} <= {tag for tag, _ in page.tags}


def test_page_loads_nothing_from_elsewhere(html: str, page: Page) -> None:
    assert not [tag for tag, _ in page.tags if tag in {"iframe", "object", "embed", "base", "form"}]
    targets = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    for tag, attributes in page.tags:
        for name in EXTERNAL_ATTRIBUTES & attributes.keys():
            inside = str(attributes[name]).startswith(("data:image/png;base64,", "data:audio/mpeg;base64,"))
            assert inside or (tag == "a" and attributes[name] in targets) or attributes[name] == "data:,"
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", html)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", html)


def test_page_holds_its_pictures(page: Page) -> None:
    pictures = page.attributes_of("img")
    assert len(pictures) == 5 + 2 * 3  # plots, and two of each shown mistake
    assert all(str(one["src"]).startswith("data:image/png;base64,iVBORw0KGgo") for one in pictures)
    assert all(one["alt"] for one in pictures)


def test_hostile_text_stays_text_in_the_page(html: str, page: Page) -> None:
    assert len(page.attributes_of("script")) == 1
    assert len(re.findall(r"<script", html)) == 1
    assert not re.search(r"<script>\s*alert", html)
    cells, headers = "".join(page.text_of("td")), "".join(page.text_of("th"))
    assert "<script>alert(1)</script>" in headers
    assert "d|<i>finch" in page.text_of("small")
    assert HOSTILE_MEMBER in headers
    assert "D | Finch" in headers
    assert "header <b>broken</b> | no frame decodes" in cells
    assert HOSTILE_RECORDING in page.text_of("figcaption")
    assert f"Spectrogram of {HOSTILE_RECORDING}" in [one["alt"] for one in page.attributes_of("img")]
    assert not {"b", "i"} & {tag for tag, _ in page.tags}


def test_rows_of_a_page_table_have_equal_numbers_of_cells(html: str) -> None:
    tables = re.findall(r"<table.*?</table>", html, re.DOTALL)
    assert len(tables) == 10
    for table in tables:
        counts = {len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)}
        assert len(counts) == 1


def test_page_shows_the_headline(page: Page, report: dict[str, Any]) -> None:
    macro_f1 = report["metrics"]["macro_f1"]
    figures = page.text_of("span")
    assert figures == [
        f"{value:.3f}"
        for value in (macro_f1["value"], report["baseline"]["metrics"]["macro_f1"]["value"], macro_f1["chance"])
    ]
    assert f"macro-F1, 90 % interval {macro_f1['low']:.3f} to {macro_f1['high']:.3f}" in page.text_of("small")


def test_page_names_the_species_that_are_not_scored(page: Page) -> None:
    assert page.text_of("li") == [
        "all its recordings are quarantined (1): lostlark.",
        "too few groups of usable recordings to spread over folds, so it is always in training (1): Hermit.",
    ]
    assert "Species that are not scored: 2" in page.text_of("summary")


def test_species_are_named_by_their_common_names_else_by_the_scientific_ones(page: Page, html: str) -> None:
    headers = [text.strip() for text in page.text_of("th")]
    assert {"Abbey Owl", "Columba | cauta", "D | Finch"} <= set(headers)
    assert "Bubo abbas" not in html
    codes = {"abbowl", "barwre", "cdove", "d|<i>finch"}
    assert codes <= set(page.text_of("small"))  # beside the names of the table of species
    assert not codes & {text.strip() for tag in ("th", "td", "strong") for text in page.text_of(tag)}
    assert "Hermit" in page.text_of("strong")  # predicted for the hostile recording


def test_page_and_markdown_say_what_the_models_share_with_what_they_score(
    report: dict[str, Any], html: str, markdown: str
) -> None:
    told = "The models that score a recording were not trained on any recording of that species by the same recordist."
    assert report["overlap"]["sentences"].startswith(told)
    for text in (" ".join(html.split()), markdown):
        assert told in text
        assert "resampling recordists" in text


def test_page_says_which_pictures_are_left_out_and_why(
    report: dict[str, Any], html: str, markdown: str, page: Page
) -> None:
    content = {
        "report": report,
        "interval": "90 % interval",
        "metric_titles": METRIC_TITLES,
        "picture_titles": PICTURE_TITLES,
        "pictures": {"confusion": b"", "learning_curves": b""},
        "left_out": dict.fromkeys(("f1_against_count", "reliability", "embeddings"), "too <few>"),
        "names": {},
        "embedding_stores": [],
        "mistakes": [],
        "mistaken": 0,
    }
    for template, reason in (("report.html.j2", "too &lt;few&gt;"), ("report.md.j2", "too <few>")):
        told = render(template, content)
        for name in ("f1_against_count", "reliability", "embeddings"):
            assert f"The picture “{PICTURE_TITLES[name]}” is left out: {reason}." in told
    assert "is left out" not in html + markdown


def test_only_members_without_pretrained_weights_are_noted(html: str, markdown: str) -> None:
    assert re.findall(r"<strong>([^<]*)</strong> \([^)]*\) was trained from scratch", html) == ["scratch"]
    assert re.findall(r"\*\*(.*) \(.*\) was trained from scratch", markdown) == ["scratch"]


def test_page_shows_lineage(html: str, scored: Scored) -> None:
    lineage = scored.report["lineage"]
    keys = [lineage[name]["key"] for name in ("split", "catalogue", "features")]
    for key in [*keys, *lineage["predictions"], *(run["key"] for run in lineage["runs"])]:
        assert f"<code>{key}</code>" in html


def test_rows_of_a_markdown_table_have_equal_numbers_of_cells(markdown: str) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    assert len(tables) == 5
    for table in tables:
        rows = [split_cells(line) for line in table.splitlines()]
        assert len({len(row) for row in rows}) == 1
        assert set(rows[1]) == {"---"}
        assert len(rows) > 2


def test_hostile_text_is_escaped_in_markdown(markdown: str) -> None:
    assert "<" not in markdown
    assert "| hub\\|&lt;script>alert(3)&lt;/script> | test\\|&lt;b>net |" in markdown
    assert "| &lt;script>alert(1)&lt;/script> | 14 | 14 |" in markdown


def test_markdown_shows_the_metrics_of_the_report(markdown: str, report: dict[str, Any]) -> None:
    macro_f1 = report["metrics"]["macro_f1"]
    headline = f"# macro-F1 {macro_f1['value']:.3f} [{macro_f1['low']:.3f}, {macro_f1['high']:.3f}]"
    headline += ", 4 of 6 species and 137 of 140 usable recordings scored"
    assert markdown.splitlines()[1:3] == ["", headline]  # below the verdict
    rows = {split_cells(line)[0]: split_cells(line) for line in markdown.splitlines() if line.startswith("|")}
    assert rows["metric"][2] == "90 % interval"
    names = {"macro_f1": "Macro-F1", "accuracy": "Accuracy", "macro_roc_auc": "Macro ROC-AUC"}
    for name, title in {**names, "padded_cmap": "Padded cmAP(5)"}.items():
        metric, baseline = report["metrics"][name], report["baseline"]["metrics"][name]
        interval = f"{metric['low']:.3f} – {metric['high']:.3f}"
        values = [f"{metric['value']:.3f}", interval, f"{metric['chance']:.3f}", f"{baseline['value']:.3f}"]
        assert rows[title] == [title, *values]


def test_markdown_lists_scored_species_only(markdown: str) -> None:
    table = markdown.split("## Species")[1].split("## Quarantine")[0]
    names = [split_cells(line)[0] for line in table.splitlines() if line.startswith("|")]
    assert names[2:] == ["Abbey Owl", "&lt;script>alert(1)&lt;/script>", "Columba \\| cauta", "D \\| Finch"]


def test_markdown_counts_the_quarantine(markdown: str) -> None:
    (line,) = [line for line in markdown.splitlines() if line.startswith("Recordings in quarantine: ")]
    total, reasons = line.rstrip(".").removeprefix("Recordings in quarantine: ").split(": ")
    assert total == "4"
    assert sorted(reasons.split(", ")) == ["1 silent", "1 too_short", "2 undecodable"]


def test_report_without_mistakes_gain_and_full_buckets(
    evaluation_members: dict[str, list[Path]],
    evaluation_baseline: Path,
    evaluation_workspace: Path,
    evaluation_split: Path,
    tmp_path: Path,
) -> None:
    split = pd.read_csv(evaluation_split / "split.csv", dtype=str, keep_default_na=False)
    (fold,) = {"0", "1", "2"} - set(split.loc[split["label"] == "cdove", "fold"])
    config = EvaluateConfig(bootstrap_samples=5, permutations=2, worst_errors=0)
    alone = {HOSTILE_MEMBER: [evaluation_members[HOSTILE_MEMBER][int(fold)]]}
    scored = score_members(config, alone, evaluation_baseline, Workspace(evaluation_workspace))
    write_report(scored, config, EXPERIMENT, "0" * 16, Workspace(tmp_path), tmp_path)
    html, markdown = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert "Worst errors" not in html
    assert html.count("<img") == 4
    assert "The picture “Accuracy against confidence” is left out" in html  # one fold has too few recordings
    assert "trained from scratch" not in html + markdown
    assert "| 1-9 | 0 of 2 | – |" in markdown
    assert re.search(r"^\| hub.*\| – \|$", markdown, re.MULTILINE)


def test_mistakes_are_shown_beside_the_best_recognised_recordings_of_the_other_species(
    scored: Scored, page: Page
) -> None:
    captions, errors = page.text_of("figcaption"), list_errors(scored)
    assert captions[0::2] == errors["recording_id"][:3].tolist()
    assert captions[:2] == [HOSTILE_RECORDING, "eremit/000.ogg"]  # never scored: its first recording
    assert errors["predicted"][1:3].tolist() == ["barwre", "barwre"]
    column = scored.probabilities[:, scored.species["label"].tolist().index("barwre")]
    own = dict(zip(scored.recordings["recording_id"], column, strict=True))
    recognised = sorted((name for name in own if name.startswith("barwre/")), key=lambda name: -own[name])
    assert captions[3::2] == recognised[:2]


def test_report_on_embeddings_says_which_pictures_show_them_and_that_only_heads_saw_nothing_of_a_recordist(
    report: dict[str, Any], html: str, markdown: str
) -> None:
    model = {"name": "All | <Ears>", "licence": "CC0"}
    store = {"key": "0" * 16, "config": {"kind": "embedding", "model": model}}
    own, other = (Exhibit(name, "f" * 64, b"", name == "a", None, "left out") for name in ("a", "b"))
    content = {
        "report": report,
        "interval": "90 % interval",
        "metric_titles": METRIC_TITLES,
        "picture_titles": PICTURE_TITLES,
        "pictures": dict.fromkeys(PICTURE_TITLES, b""),
        "left_out": {},
        "names": {},
        "embedding_stores": [store],
        "mistakes": [Mistake("owl", "wren", 0.5, own, other)],
        "mistaken": 1,
    }
    told = " ".join(render("report.html.j2", content).split())
    assert 'alt="Embeddings of a"> <p class="silent">The picture shows embeddings' in told
    assert 'alt="Spectrogram of b"> <p class="silent">No sound' in told
    name = "All | &lt;Ears&gt;"
    unknown = f"which recordings {name} itself was trained on is not known."
    assert f"classifiers on the embeddings of {name}; {unknown} The paired difference to the baseline is" in told
    escaped = unknown.replace(name, "All \\| &lt;Ears>")
    assert f"; {escaped}\n\n" in render("report.md.j2", content)
    assert "itself was trained on" not in html + markdown


def test_page_of_one_fold_calls_nothing_fitted_and_leaves_out_what_would_be(
    evaluation_members: dict[str, list[Path]], evaluation_baseline: Path, evaluation_workspace: Path, tmp_path: Path
) -> None:
    members = {name: paths[:1] for name, paths in evaluation_members.items()}
    scored = score_members(CONFIG, members, evaluation_baseline, Workspace(evaluation_workspace))
    write_report(scored, CONFIG, EXPERIMENT, "0123456789abcdef", Workspace(Path("/some where")), tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    schema = json.loads((Path(templates.__file__).parent / "report.schema.json").read_text())
    assert list(Draft202012Validator(schema).iter_errors(report)) == []
    assert set(report["metrics"]["macro_f1_by_thresholds"].values()) == {None}
    assert set(report["calibration"]["temperature_per_fold"].values()) == {None}
    assert report["calibration"]["after"] is None
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert "There is one fold, so there are no other folds to fit" in text
        assert "fitted thresholds" not in text
        assert "fitted on the other folds" not in text
        assert "F1 by threshold" not in text


@pytest.mark.parametrize(("edge", "said"), [("highest", "hardly tell the species apart"), ("lowest", "lower end")])
def test_page_says_that_a_temperature_lies_at_an_end_of_the_search(
    directory: Path, report: dict[str, Any], edge: str, said: str
) -> None:
    for name in ("report.md", "report.html"):
        text = (directory / name).read_text()
        assert "gives the probabilities the highest likelihood." in text
        assert "end of the search" not in text
    told = render(
        "temperature.j2", {"report": {**report, "calibration": {"temperature": 20.0, "temperature_edge": edge}}}
    )
    assert said in told
    assert "gives the probabilities the highest likelihood" not in told
