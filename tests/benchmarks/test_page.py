import os
import re
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import page as page_module
from benchmarks.page import Page, describe_hardware, format_table, publish, read_commit, replace_section

PAGE = """# Speed

<!-- mel -->
old table
<!-- /mel -->

Between.

<!-- mel-long -->
another table
<!-- /mel-long -->
The end.
"""


def measure(
    context: typer.Context,
    data: Path,
    preset: str,
    hours: float = 4.0,
    ogg: bool = False,
    page: Page = None,
) -> None:
    publish(context, "mel", format_table(["way", "s"], [["ours", "1"]]), page)


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command("mel")(measure)
    app.command("other")(lambda: None)
    outcome = CliRunner().invoke(app, ["mel", *arguments])
    assert outcome.exception is None, outcome.output
    return outcome.output


def test_only_the_named_section_is_replaced() -> None:
    replaced = replace_section(PAGE, "mel", "new table\n")
    assert replaced == PAGE.replace("old table", "new table")
    assert replace_section(replaced, "mel", "old table") == PAGE


@pytest.mark.parametrize(
    "page",
    [
        PAGE.replace("<!-- mel -->", ""),
        PAGE.replace("<!-- /mel -->", ""),
        PAGE + "<!-- mel -->\nagain\n<!-- /mel -->\n",
        "<!-- /mel -->\nwrong way round\n<!-- mel -->\n",
    ],
    ids=["no opening marker", "no closing marker", "two sections", "wrong order"],
)
def test_a_page_without_exactly_one_such_section_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match=re.escape("'<!-- mel -->' and one line '<!-- /mel -->' below it")):
        replace_section(page, "mel", "new table")


def test_a_table_has_a_rule_below_its_header() -> None:
    assert format_table(["way", "s"], [["ours", "1"], ["theirs", "2"]]) == (
        "| way | s |\n| --- | --- |\n| ours | 1 |\n| theirs | 2 |"
    )


def test_the_page_gets_what_is_printed_with_command_and_date(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    printed = run(str(tmp_path), "small", "--hours", "8", "--ogg", "--write", str(page))
    assert page.read_text() == PAGE.replace("old table", printed.strip())
    assert printed.startswith("| way | s |\n| --- | --- |\n| ours | 1 |\n\n`python -m benchmarks mel DATA small ")
    assert "--hours 8 --ogg`, 20" in printed
    assert str(tmp_path) not in printed
    assert "--write" not in printed


def test_what_was_not_given_is_not_in_the_command(tmp_path: Path) -> None:
    assert "`python -m benchmarks mel DATA small`, " in run(str(tmp_path), "small")


def test_the_origin_is_wrapped_and_no_option_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "describe_hardware", lambda: " ".join(["--data-sets"] * 30))
    lines = run(str(tmp_path), "small").strip().splitlines()
    assert max(map(len, lines)) <= 120
    assert " ".join(lines).count("--data-sets") == 30
    assert len(lines) > 4


def test_a_page_without_the_section_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Speed\n")
    app = typer.Typer()
    app.command("mel")(measure)
    outcome = CliRunner().invoke(app, [str(tmp_path), "small", "--write", str(page)])
    assert outcome.exit_code == 2
    assert "ours" not in outcome.output


@pytest.mark.parametrize(
    ("flags", "described"),
    [
        ("fpu avx avx2 avx512f", "of Some CPU @ 2.00GHz with AVX-512"),
        ("fpu avx avx2", "of Some CPU @ 2.00GHz with AVX2"),
        ("fpu avx", "of Some CPU @ 2.00GHz without AVX2"),
    ],
)
def test_hardware_is_cores_processor_and_vector_width(tmp_path: Path, flags: str, described: str) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: {flags}\n\n")
    assert re.fullmatch(rf"\d+ cores? {re.escape(described)}", describe_hardware(cpu_info))


def test_hardware_without_its_description_tells_cores_only(tmp_path: Path) -> None:
    described = describe_hardware(tmp_path / "missing")
    assert re.match(r"\d+ cores?, \w+", described)
    assert os.uname().nodename not in described


def test_the_commit_is_marked_if_code_changed_but_not_if_a_page_did(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init")
    code, page = tmp_path / "code.py", tmp_path / "page.md"
    code.write_text("1\n")
    page.write_text("old\n")
    git("add", "--all")
    git("commit", "--message", "Begin")
    head = git("log", "-1", "--format=%h")
    page.write_text("new\n")
    assert read_commit(tmp_path) == head
    code.write_text("2\n")
    assert read_commit(tmp_path) == f"{head} with changes"


def test_without_git_there_is_no_commit(tmp_path: Path) -> None:
    assert read_commit(tmp_path) is None
