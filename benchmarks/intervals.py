"""How often 95 % intervals hold the true value, on made-up data sets: birdclef's interval and those it could have used.

Run: python -m benchmarks intervals [--data-sets N]

The true value is the mean of the metric over data sets of the same design with other recordists. Each design has its
row, and each kind of interval its column.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from scipy.stats import norm, t
from threadpoolctl import threadpool_limits

from benchmarks.interval_designs import DESIGNS, DataSet, Design, Population
from benchmarks.page import Page, format_table, publish
from birdclef.metrics.bootstrap import resample_groups
from birdclef.metrics.classification import Floats, Resamples, accuracy, macro_f1
from birdclef.metrics.intervals import plain_interval, score_interval

CONFIDENCE = 0.95
RESAMPLES = 1000
TRUTH_DATA_SETS = 2000
DIFFERENCE = "macro-F1 of two models, difference"

Interval = tuple[float, float]
Quantity = Callable[[DataSet, Resamples | None], Floats]
Coverages = Mapping[tuple[str, str], float]
"""Share of data sets whose interval holds the true value, by quantity and kind of interval."""

QUANTITIES: dict[str, Quantity] = {
    "macro-F1": lambda data, resamples: macro_f1(data.first, data.labels, resamples),
    "accuracy": lambda data, resamples: accuracy(data.first, data.labels, resamples),
    DIFFERENCE: lambda data, resamples: (
        macro_f1(data.first, data.labels, resamples) - macro_f1(data.second, data.labels, resamples)
    ),
}


@dataclass(frozen=True)
class Measured:
    """What an interval is made of.

    Attributes:
        value: Metric on all recordings.
        resampled: Metric on each resample, (resamples,).
        jackknifed: Metric without each group, (groups,).
        is_score: Whether the metric lies from 0 to 1; False for a difference.
    """

    value: float
    resampled: Floats
    jackknifed: Floats
    is_score: bool

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.jackknifed)


def percentile(measured: Measured) -> Interval:
    """Returns the central part of the resamples."""
    return _between(measured, (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def basic(measured: Measured) -> Interval:
    """Returns the percentile interval, mirrored at the value (Davison and Hinkley 1997, equation 5.6)."""
    low, high = percentile(measured)
    return 2 * measured.value - high, 2 * measured.value - low


def accelerated(measured: Measured) -> Interval:
    """Returns the bias-corrected and accelerated interval (Efron 1987), its acceleration by the jackknife."""
    below = ((measured.resampled < measured.value).mean() + (measured.resampled <= measured.value).mean()) / 2
    bias = norm.ppf(np.clip(below, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES))
    gaps = measured.jackknifed.mean() - measured.jackknifed
    acceleration = (gaps**3).sum() / max(6 * (gaps**2).sum() ** 1.5, 1e-12)
    ends = bias + norm.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    low, high = norm.cdf(bias + ends / (1 - acceleration * ends))
    return _between(measured, low, high)


def normal(measured: Measured) -> Interval:
    """Returns the value ± 1.96 deviations of the resamples."""
    return _around(measured, norm.ppf((1 + CONFIDENCE) / 2) * measured.resampled.std(ddof=1))


def student(measured: Measured) -> Interval:
    """Returns the value ± t deviations of the resamples, with one degree of freedom less than groups."""
    return _around(measured, _quantile(measured) * measured.resampled.std(ddof=1))


def jackknife(measured: Measured) -> Interval:
    """Returns the value ± t deviations of the jackknife, which leaves out each group once."""
    spread = (measured.jackknifed - measured.jackknifed.mean()) ** 2
    return _around(measured, _quantile(measured) * np.sqrt((measured.groups - 1) / measured.groups * spread.sum()))


def birdclef(measured: Measured) -> Interval:
    """Returns what reports state: value ± t distances of the resamples from it, for a score on the logit's scale."""
    arguments = measured.value, measured.resampled, CONFIDENCE, measured.groups - 1
    return score_interval(*arguments) if measured.is_score else plain_interval(*arguments, (-1, 1))


KINDS: dict[str, Callable[[Measured], Interval]] = {
    "percentile": percentile,
    "basic": basic,
    "BCa": accelerated,
    "± 1.96 deviations": normal,
    "± t deviations": student,
    "± t deviations, jackknife": jackknife,
    "birdclef": birdclef,
}


def main(
    context: typer.Context,
    data_sets: Annotated[int, typer.Option(help="Data sets of each design.", min=10)] = 1000,
    page: Page = None,
) -> None:
    """Print the coverage of each kind of interval in each design."""
    with threadpool_limits(1):  # matrices are small
        coverages = {name: measure_coverage(design, data_sets) for name, design in DESIGNS.items()}
    tables = [format_table([quantity, *KINDS], describe(quantity, coverages)) for quantity in QUANTITIES]
    publish(context, "intervals", "\n\n".join(tables), page)


def measure_coverage(design: Design, data_sets: int) -> Coverages:
    """Returns the share of data sets whose interval holds the true value."""
    generator = np.random.default_rng(0)
    population = Population(design, generator)
    truths = find_truths(population, generator)
    hits: defaultdict[tuple[str, str], int] = defaultdict(int)
    for _ in range(data_sets):
        data = population.draw(generator)
        resamples = resample_groups(data.groups, RESAMPLES, generator)
        left_out = Resamples(resamples.groups, 1 - np.eye(len(resamples.counts)))
        for name, quantity in QUANTITIES.items():
            value, drawn, jackknifed = (quantity(data, which) for which in (None, resamples, left_out))
            measured = Measured(float(value[0]), drawn, jackknifed, name != DIFFERENCE)
            for kind, find in KINDS.items():
                low, high = find(measured)
                hits[name, kind] += low <= truths[name] <= high
    return {key: count / data_sets for key, count in hits.items()}


def find_truths(population: Population, generator: np.random.Generator) -> dict[str, float]:
    """Returns the mean of each quantity over many data sets."""
    totals = dict.fromkeys(QUANTITIES, 0.0)
    for _ in range(TRUTH_DATA_SETS):
        data = population.draw(generator)
        for name, quantity in QUANTITIES.items():
            totals[name] += float(quantity(data, None)[0])
    return {name: total / TRUTH_DATA_SETS for name, total in totals.items()}


def describe(quantity: str, coverages: Mapping[str, Coverages]) -> list[list[str]]:
    """Returns a row for each design, and one with the mean distance from the nominal coverage."""
    rows = [[name, *(f"{100 * own[quantity, kind]:.1f}" for kind in KINDS)] for name, own in coverages.items()]
    misses = {kind: np.mean([abs(own[quantity, kind] - CONFIDENCE) for own in coverages.values()]) for kind in KINDS}
    return [*rows, [f"mean distance from {100 * CONFIDENCE:g}", *(f"{100 * misses[kind]:.1f}" for kind in KINDS)]]


def _between(measured: Measured, low: float, high: float) -> Interval:
    ends = np.quantile(measured.resampled, [low, high])
    return float(ends[0]), float(ends[1])


def _around(measured: Measured, half: float) -> Interval:
    return measured.value - half, measured.value + half


def _quantile(measured: Measured) -> float:
    return float(t.ppf((1 + CONFIDENCE) / 2, measured.groups - 1))
