"""Tables of recordings, as a catalogue has them, for tests of groups and folds."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from cache.config.split import SplitConfig


def make_table(rows: list[tuple[str, str]], **columns: list[object]) -> pd.DataFrame:
    """A catalogue's table from (label, recordist), each recording with bytes and a duration of its own."""
    table = pd.DataFrame(rows, columns=["label", "recordist"])
    return table.assign(
        recording_id=[f"r{row:03}" for row in range(len(table))],
        sound=[f"r{row:03}" for row in range(len(table))],
        seconds=[1.0 + row for row in range(len(table))],
        **columns,
    )


def well_spread(species: int = 4, recordists: int = 10, each: int = 2) -> pd.DataFrame:
    """Every recordist has `each` recordings of every species."""
    return make_table([(f"s{s}", f"ann{r}") for s in range(species) for r in range(recordists) for _ in range(each)])


@st.composite
def random_tables(draw: st.DrawFn) -> tuple[pd.DataFrame, SplitConfig]:
    """A long-tailed table with shared recordists, unknown ones, duplicates, and a species that fills every fold."""
    folds = draw(st.integers(2, 5))
    count = draw(st.integers(1, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    species, recordists = draw(st.integers(1, 12)), draw(st.integers(1, 15))
    label = np.minimum(generator.geometric(0.3, count), species)
    recordist = generator.integers(0, recordists, count)  # recordist 0 is nobody
    audio = generator.integers(0, max(1, round(count * draw(st.floats(0.5, 5)))), count)
    rows = [(f"s{s}", f"ann{r}" if r else "") for s, r in zip(label, recordist, strict=True)]
    rows += [("common", f"own{row}") for row in range(2 * folds)]
    table = make_table(rows)
    conflicts = draw(st.booleans())  # one sound under several labels
    table.loc[: count - 1, "sound"] = [f"{'' if conflicts else s}-{a}" for s, a in zip(label, audio, strict=True)]
    table.loc[: count - 1, "seconds"] = generator.integers(1, 30, count).astype(float)
    shuffled = table.iloc[generator.permutation(len(table))].reset_index(drop=True)
    return shuffled, SplitConfig(folds=folds, seed=draw(st.integers(0, 1000)))


def spread_table(recordings: int = 120, species: int = 4, recordists: int = 30) -> pd.DataFrame:
    """Recordings of a few species by many recordists, each at two places, with a site and a given fold."""
    number = np.arange(recordings)
    recordist = number % recordists
    return pd.DataFrame(
        {
            "recording_id": [f"{index:04}" for index in number],
            "label": [f"species {index}" for index in number // recordists % species],
            "recordist": [f"recordist {index}" for index in recordist],
            "sound": [f"{index:04}" for index in number],
            "seconds": number.astype(float),
            "latitude": [f"{index % 2:.2f}" for index in number],
            "longitude": "10.05",
            "site": [f"site {index // 3}" for index in recordist],
            "table_fold": [str(index % 3) for index in recordist],
        }
    )
