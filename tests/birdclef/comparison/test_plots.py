"""Two orders of the same rows must give the same picture, byte for byte."""

import pandas as pd

from birdclef.comparison.plots import plot_sweep


def test_sweep_over_one_number_is_drawn_in_its_order_and_others_by_score() -> None:
    scores = {"macro_f1": [0.3, 0.5, 0.4], "low": [0.2, 0.4, 0.3], "high": [0.4, 0.6, 0.5]}
    numbers = pd.DataFrame({"train.*.objective.temperature": [0.2, 0.05, 0.1], **scores})
    shuffled = numbers.sample(frac=1, random_state=1)
    picture = plot_sweep(numbers, ["train.*.objective.temperature"])
    assert picture == plot_sweep(shuffled, ["train.*.objective.temperature"])
    names = pd.DataFrame({"a.kind": ["ce", "joint", "$su|p"], "b.seed": [0, 1, 2], **scores})
    assert plot_sweep(names, ["a.kind", "b.seed"]) == plot_sweep(names.iloc[::-1], ["a.kind", "b.seed"])
    assert len({picture, plot_sweep(names, ["a.kind", "b.seed"]), plot_sweep(names, ["b.seed"])}) == 3
