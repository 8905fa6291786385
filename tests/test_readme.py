"""The documents against the code: commands parse, and presets, targets, deployments, links and paths exist."""

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from birdnet_installation import skip_unless_loadable

from flows.command_line.app import app
from flows.experiment import expand_grid, load_config

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PACKAGES = ("birdclef", "cache", "flows")
PRESETS = sorted(path.stem for path in ROOT.glob("configs/*.yaml"))
README_BYTES = 10_000


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def split_fences(document: Path) -> tuple[str, list[tuple[str, str]]]:
    """Returns the text outside of fences, and the language and content of each fence."""
    text = document.read_text()
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), fences


def console_commands() -> Iterator[tuple[str, list[str]]]:
    """Yields document and words of every command in the console blocks."""
    for document in DOCUMENTS:
        for language, content in split_fences(document)[1]:
            if language != "console":
                continue
            for line in re.findall(r"^\$ ((?:.*\\\n)*.*)", content, re.MULTILINE):
                words: list[str] = []
                for word in [*shlex.split(line.replace("\\\n", " "), comments=True), "&&"]:
                    if word == "&&":
                        yield name_of(document), words
                        words = []
                    else:
                        words.append(word)


COMMANDS = list(console_commands())


def birdclef_commands() -> Iterator[tuple[str, list[str]]]:
    """Yields document and arguments of every call of the command line, in a container too."""
    subcommands = command_line().commands
    for document, words in COMMANDS:
        if words[:1] == ["birdclef"]:
            yield document, words[1:]
        elif words[:2] in (["docker", "run"], ["docker", "exec"]) and "birdclef" in words:
            after_image = words[len(words) - words[::-1].index("birdclef") :]
            if after_image[:1] and after_image[0] in subcommands:
                yield document, after_image


@cache
def command_line() -> Any:
    return typer.main.get_command(app)


def find_leaf(words: list[str]) -> tuple[Any, list[str]]:
    """Returns the command that words name, and the words behind it."""
    command, rest = command_line(), list(words)
    while hasattr(command, "commands") and rest:
        if rest[0].startswith("-"):
            known = {option for parameter in command.params for option in parameter.opts}
            assert rest[0] in known, f"birdclef has no option {rest[0]}"
            rest = rest[1:]
            continue
        assert rest[0] in command.commands, f"birdclef has no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def locate(config: str) -> Path:
    """Returns the file of a preset, or a file of the repository."""
    path = ROOT / "configs" / f"{config}.yaml" if Path(config).name == config else ROOT / config
    assert path.is_file(), f"there is no preset or file {config}; presets are {', '.join(PRESETS)}"
    skip_unless_loadable(path)
    return path


@pytest.mark.parametrize(
    ("document", "words"), [pytest.param(*call, id=f"{call[0]}: {' '.join(call[1])}") for call in birdclef_commands()]
)
def test_a_command_line_parses_and_its_settings_exist(document: str, words: list[str]) -> None:
    command, rest = find_leaf(words)
    context = command.make_context(command.name, rest)
    if config := context.params.get("config"):
        if grid := context.params.get("grid"):
            expand_grid(locate(str(config)), grid)
        else:
            load_config(locate(str(config)), context.params.get("overrides") or ())


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_within_sentences_exist(document: Path) -> None:
    for code in re.findall(r"`birdclef ([^`]+)`", split_fences(document)[0]):
        words = code.split()
        if words[0].startswith("-"):
            continue
        command, rest = find_leaf(words[:1] if words[0] not in ("config", "models", "augment") else words[:2])
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = [word for word in words if word.startswith("--") and word not in known]
        assert not unknown, f"birdclef {code}: no option {unknown}"
        assert not rest


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for _, words in COMMANDS if words[:1] == ["make"]}
    for document in DOCUMENTS:
        named |= set(re.findall(r"`make ([a-z]+)`", split_fences(document)[0]))
    assert {"demo", "install", "test"} <= named <= targets


def test_every_benchmark_exists() -> None:
    named = {
        name for document in DOCUMENTS for name in re.findall(r"python -m benchmarks ([a-z]+)", document.read_text())
    }
    assert named
    assert {name for name in named if not (ROOT / "benchmarks" / f"{name}.py").is_file()} == set()


def test_every_benchmark_has_its_section_of_the_performance_page() -> None:
    registered = re.findall(r'app\.command\("(\w+)"\)', (ROOT / "benchmarks" / "__main__.py").read_text())
    page = (ROOT / "docs" / "performance.md").read_text()
    for name in registered:
        sections = re.findall(rf"<!-- ({name}[\w-]*) -->\n(.*?)\n<!-- /\1 -->", page, re.DOTALL)
        assert sections, name
        assert all(f"python -m benchmarks {name}" in content for _, content in sections), name


def deployments() -> set[str]:
    """Returns flow/deployment of everything in `prefect.yaml`."""
    source = (ROOT / "flows" / "pipeline.py").read_text()
    flows = {
        function: flow for flow, function in re.findall(r'@flow\(name="([\w-]+)".*?\ndef (\w+)', source, re.DOTALL)
    }
    listed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return {f"{flows[each['entrypoint'].rpartition(':')[2]]}/{each['name']}" for each in listed}


def test_every_deployment_exists_and_its_parameters_are_valid() -> None:
    known = deployments()
    for document, words in COMMANDS:
        if "deployment" not in words:
            continue
        assert words[words.index("run", words.index("deployment")) + 1] in known, document
        if "--params" in words:
            parameters = json.loads(words[words.index("--params") + 1])
            load_config(locate(parameters.get("config", "demo")), parameters["overrides"])
    for document in DOCUMENTS:
        for named in re.findall(r"`(birdclef[\w-]*/(?:stage|full-pipeline))`", split_fences(document)[0]):
            assert named in known, name_of(document)


def anchors(document: Path) -> set[str]:
    """Returns the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", split_fences(document)[0], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", split_fences(document)[0]):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_path_and_module_exists(document: Path) -> None:
    text = split_fences(document)[0]
    folders = "birdclef|cache|flows|configs|tests|benchmarks|docs|kubernetes"
    paths = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", text)) - deployments()
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    modules = set(re.findall(rf"(?<![\w/.])((?:{'|'.join(PACKAGES)})(?:\.[a-z_]+)+)\b", text))
    assert {name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").is_file()} == set()


def test_every_room_is_in_the_tree_of_the_architecture() -> None:
    tree = split_fences(ROOT / "ARCHITECTURE.md")[1][0][1]
    package, named = "", set()
    for indent, folder in re.findall(r"^( *)(\w+)/", tree, re.MULTILINE):
        package = package if indent else folder
        named |= {f"{package}/{folder}"} if indent else set()
    rooms = {str(path.parent.relative_to(ROOT)) for name in PACKAGES for path in (ROOT / name).glob("*/__init__.py")}
    assert named == rooms


@pytest.mark.parametrize("document", [ROOT / "README.md", ROOT / "docs" / "presets.md"], ids=name_of)
def test_every_preset_has_its_row(document: Path) -> None:
    rows = [line for line in document.read_text().splitlines() if line.startswith("|")]
    assert [preset for preset in PRESETS if not any(f"`{preset}`" in row for row in rows)] == []


def test_every_page_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = {name_of(document) for document in DOCUMENTS} - {"README.md", "CHANGELOG.md"}
    assert {page for page in pages if f"]({page})" not in readme} == set()


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= README_BYTES
