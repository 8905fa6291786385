"""The supervised contrastive loss, forward and backward: this package's against pytorch-metric-learning's.

Run: python -m benchmarks losses [--threads N]

Times are medians of calls that alternate in one process. Peak memory is what a child process needs for one step beyond
what it held before it, so that neither contender profits from what the other one left behind.
"""

import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from pytorch_metric_learning.losses import SupConLoss as OtherSupConLoss
from torch import Tensor

from benchmarks.page import Page, format_table, publish
from birdclef.losses.contrast import ContrastBatch
from birdclef.losses.supcon import SupConLoss

Contender = Literal["ours", "theirs"]
DIM = 128
TEMPERATURE = 0.1
ROWS_PER_SPECIES = 8
SIZES = (2048, 4096)
LARGE = 32_768
REPEATS = 7


def main(
    context: typer.Context,
    threads: Annotated[int, typer.Option(help="Threads of each contender.")] = 1,
    page: Page = None,
) -> None:
    """Print time and peak memory of both, their ratios, and how far they are apart; then a batch that only ours can."""
    torch.set_num_threads(threads)
    lines = []
    for rows in SIZES:
        own, other = measure_times(rows)
        milliseconds = [f"{1000 * own:.0f}", f"{1000 * other:.0f}"]
        lines.append([f"{rows:,}: ms", *milliseconds, f"{other / own:.1f}", f"{compare(rows):.1e}"])
        own, other = measure_memory("ours", rows, threads)[0], measure_memory("theirs", rows, threads)[0]
        lines.append([f"{rows:,}: peak MB", f"{own:.0f}", f"{other:.0f}", f"{other / own:.1f}", ""])
    memory, seconds = measure_memory("ours", LARGE, threads)
    table = format_table(
        [f"rows of {DIM}, {threads} threads", "ours", "pytorch-metric-learning", "ratio", "apart"], lines
    )
    summary = (
        f"{LARGE:,} rows: {seconds:.1f} s, {memory:.0f} MB at the peak; a matrix of pairs would be "
        f"{4 * LARGE**2 / 1e6:,.0f} MB."
    )
    publish(context, "losses", f"{table}\n\n{summary}", page)


def build_step(contender: Contender, rows: int) -> tuple[Tensor, Callable[[], Tensor]]:
    """Returns embeddings, and a call that computes the loss of them and its gradient."""
    embeddings = torch.randn(rows, DIM, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(rows) // ROWS_PER_SPECIES
    ours, theirs = SupConLoss(TEMPERATURE, same_recording_weight=1.0), OtherSupConLoss(TEMPERATURE)
    batch = ContrastBatch(embeddings, labels, torch.arange(rows) // 2)

    def step() -> Tensor:
        embeddings.grad = None
        loss: Tensor = ours(batch) if contender == "ours" else theirs(embeddings, labels)
        loss.backward()
        return loss.detach()

    return embeddings, step


def measure_times(rows: int) -> tuple[float, float]:
    """Returns the median seconds of a step of both, after one that does not count."""
    steps = [build_step("ours", rows)[1], build_step("theirs", rows)[1]]
    seconds: list[list[float]] = [[], []]
    for _ in range(REPEATS + 1):
        for step, taken in zip(steps, seconds, strict=True):
            started = time.perf_counter()
            step()
            taken.append(time.perf_counter() - started)
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


def compare(rows: int) -> float:
    """Returns how far loss and gradient are apart at most, relative to the largest value."""
    (one, own_step), (other, other_step) = build_step("ours", rows), build_step("theirs", rows)
    own_loss, other_loss = own_step(), other_step()
    assert one.grad is not None
    assert other.grad is not None
    gradients = (one.grad - other.grad).abs().max() / other.grad.abs().max()
    return max(float(gradients), float((own_loss - other_loss).abs() / other_loss))


def measure_memory(contender: Contender, rows: int, threads: int) -> tuple[float, float]:
    """Returns the megabytes that the first step of a new process needs at its peak, and its seconds."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(step_once, (contender, rows, threads))


def step_once(contender: Contender, rows: int, threads: int) -> tuple[float, float]:
    """Returns the megabytes that a step needs at its peak beyond what this process held before it, and its seconds."""
    torch.set_num_threads(threads)
    build_step(contender, 64)[1]()  # loads what the first step loads
    step = build_step(contender, rows)[1]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    before, started = read_peak(), time.perf_counter()
    step()
    return read_peak() - before, time.perf_counter() - started


def read_peak() -> float:
    """Returns this process's peak memory since it was last reset, MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 / 1e6  # type: ignore[index]
