"""A page of measurements: each benchmark owns a section of it, between two markers.

A section holds the benchmark's tables, and below them the command, date, commit and hardware of the measurement.
"""

import os
import platform
import subprocess
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer


def check_page(context: typer.Context, page: Path | None) -> Path | None:
    """Returns the page; refuses one without a section of this benchmark before anything is measured."""
    if page and f"<!-- {context.info_name}" not in page.read_text():
        raise typer.BadParameter(f"{page} has no section '<!-- {context.info_name} -->' to write to.")
    return page


Page = Annotated[
    Path | None,
    typer.Option(
        "--write",
        help="Markdown page in which this benchmark's section is replaced, such as docs/performance.md.",
        exists=True,
        dir_okay=False,
        writable=True,
        callback=check_page,
    ),
]
"""The option that every benchmark has."""

CPU_INFO = Path("/proc/cpuinfo")
LINE = 120
"""Longest line of prose on a page, characters."""
ROOT = Path(__file__).parents[1]


def publish(context: typer.Context, section: str, result: str, page: Path | None) -> None:
    """Print a result with its origin, and replace the section of a page by both.

    Args:
        context: Of the command that measured.
        section: Name in the markers of the page.
        result: Markdown.
        page: Markdown page; None: the result is printed only.

    Raises:
        ValueError: If the page has no such section. The result has been printed by then.
    """
    text = f"{result}\n\n{describe_origin(context)}"
    print(text)
    if page:
        page.write_text(replace_section(page.read_text(), section, text))


def replace_section(page: str, section: str, text: str) -> str:
    """Returns a page in which a text stands between `<!-- section -->` and `<!-- /section -->`.

    Raises:
        ValueError: If the page does not have each of the two markers once, in this order.
    """
    opening, closing = f"<!-- {section} -->", f"<!-- /{section} -->"
    before, _, rest = page.partition(opening)
    _, _, after = rest.partition(closing)
    if page.count(opening) != 1 or page.count(closing) != 1 or closing in before:
        raise ValueError(
            f"The page must have one line '{opening}' and one line '{closing}' below it. Add them where the section "
            "belongs, and run again."
        )
    return f"{before}{opening}\n{text.strip()}\n{closing}{after}"


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table, without a line break at its end."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def describe_origin(context: typer.Context) -> str:
    """Returns how, when and on what a measurement was made: command, date, commit and hardware, in wrapped lines."""
    facts = [f"`{describe_command(context)}`", datetime.now(UTC).date().isoformat()]
    if commit := read_commit():
        facts.append(f"commit {commit}")
    # An option such as --data-sets must stay whole.
    return textwrap.fill(", ".join([*facts, describe_hardware()]) + ".", LINE, break_on_hyphens=False)


def describe_command(context: typer.Context) -> str:
    """Returns the command that was given, without `--write`; the name of an argument stands for a path."""
    words = ["python -m benchmarks", str(context.info_name)]
    for parameter in context.command.params:
        name = str(parameter.name)
        source, value = context.get_parameter_source(name), context.params.get(name)
        if source is None or source.name != "COMMANDLINE" or "--write" in parameter.opts:
            continue
        if parameter.param_type_name == "argument":
            words.append(name.upper() if holds_path(value) else format_value(value))
        else:
            words += [parameter.opts[0]] if value is True else [parameter.opts[0], format_value(value)]
    return " ".join(words)


def holds_path(value: object) -> bool:
    """Returns whether an argument's value is a path, or a list of them."""
    return isinstance(value, Path) or (isinstance(value, (list, tuple)) and any(map(holds_path, value)))


def format_value(value: object) -> str:
    """Returns an option's value as it would be typed; of a path or a file's name only the last part."""
    return f"{value:g}" if isinstance(value, float) else Path(str(value)).name


def describe_hardware(cpu_info: Path = CPU_INFO) -> str:
    """Returns cores, processor and its widest vector instructions; never the machine's name.

    Args:
        cpu_info: Linux's description of the processor; where it is missing, Python's is taken.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counted = f"{cores} core{'' if cores == 1 else 's'}"
    if not cpu_info.is_file():
        return f"{counted}, {platform.processor() or platform.machine()}"
    lines = (line.partition(":") for line in cpu_info.read_text().splitlines())
    facts = {name.strip(): value.strip() for name, _, value in lines}
    described = f"{counted} of {facts['model name']}" if "model name" in facts else f"{counted}, {platform.machine()}"
    if "flags" not in facts:
        return described
    flags = set(facts["flags"].split())
    widest = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), None)
    return f"{described} with {widest}" if widest else f"{described} without AVX2"


def read_commit(folder: Path = ROOT) -> str | None:
    """Returns the commit of the code, marked if Python files have changed since; None without git.

    A page that an earlier benchmark wrote to does not count as a change.
    """
    try:
        found = run_git(folder, "rev-parse", "--short", "HEAD")
        changed = run_git(folder, "diff", "--name-only", "HEAD", "--", "*.py")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{found} with changes" if changed else found


def run_git(folder: Path, *arguments: str) -> str:
    """Returns what a git command prints, without white space around it."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
