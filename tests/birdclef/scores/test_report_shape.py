"""Types of the fields of `report.json`: those that the published schema has, and no others."""

import json
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from typing_extensions import is_typeddict

from birdclef.report import templates
from birdclef.scores.report_file import read_report
from birdclef.scores.report_shape import Report
from cache.workspace.file_format import DamagedArtefactError

SCHEMA = json.loads((Path(templates.__file__).parent / "report.schema.json").read_text())


def write(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "report.json").write_text(json.dumps({"format": 1, **content}))
    return folder


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"key": []}, "key"),
        ({"members": {}}, "members"),
        ({"members": [{"name": 1}]}, r"members\.0\.name"),
        ({"per_species": [-1]}, r"per_species\.0"),
        ({"per_species": [{"threshold": "0.5"}]}, r"per_species\.0\.threshold"),
        ({"per_species": [{"threshold": 2}]}, r"per_species\.0\.threshold"),
        ({"ensemble": None}, "ensemble"),
        ({"ensemble": {"method": "sum"}}, r"ensemble\.method"),
        ({"ensemble": {"weights": {"net": None}}}, r"ensemble\.weights\.net"),
        ({"calibration": {"temperature": 0}}, r"calibration\.temperature"),
        ({"calibration": {"temperature": 10**400}}, r"calibration\.temperature"),
        ({"lineage": {"runs": [{"config": []}]}}, r"lineage\.runs\.0\.config"),
        ({"lineage": {"split": "a"}}, r"lineage\.split"),
        ({"metrics": {"macro_f1": 0.5}}, r"metrics\.macro_f1"),
        ({"species_without_recordings": "wren"}, "species_without_recordings"),
    ],
    ids=str,
)
def test_field_of_a_wrong_type_is_named_with_its_file(tmp_path: Path, content: dict[str, Any], field: str) -> None:
    with pytest.raises(
        DamagedArtefactError, match=rf"report\.json is damaged, because {field}=.* is wrong: .*\. Bring"
    ):
        read_report(write(tmp_path, content))


def test_field_that_is_missing_is_named_when_it_is_read(tmp_path: Path) -> None:
    report = read_report(write(tmp_path, {"ensemble": {"method": "mean"}}))
    assert report["ensemble"]["method"] == "mean"
    assert report.get("verdict") is None
    for read in (lambda: report["calibration"], lambda: report["ensemble"]["weights"]):
        with pytest.raises(
            DamagedArtefactError, match=r"report\.json is damaged, because it lacks (cal|weights).*Bring"
        ):
            read()


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def list_unknown(shape: Any, schema: dict[str, Any], place: str = "") -> list[str]:
    """Returns the fields of a type that the schema lacks."""
    schema = resolve(schema)
    if get_origin(shape) in (list, dict):
        inner = schema.get("items") or schema.get("additionalProperties")
        return list_unknown(get_args(shape)[-1], inner, f"{place}.*") if isinstance(inner, dict) else []
    if not is_typeddict(shape) or "properties" not in schema:  # settings and the split's report are not described
        return []
    unknown = []
    for name, annotation in get_type_hints(shape).items():
        properties = schema["properties"]
        here = f"{place}.{name}"
        unknown += list_unknown(annotation, properties[name], here) if name in properties else [here]
    return unknown


def test_each_field_is_one_of_the_published_schema() -> None:
    assert list_unknown(Report, SCHEMA) == []
