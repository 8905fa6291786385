"""What models share with the recordings that they are scored on, and what intervals resample, in words."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache.folds.groups import RECORDING, RECORDIST, RECORDIST_AND_PLACE, TEST_FOLD, is_unknown, is_validated


@dataclass(frozen=True)
class Overlap:
    """Counts of scored recordings that resemble what the models were trained on.

    Attributes:
        recordings: Scored recordings.
        recordist_known: Scored recordings whose recordist is known.
        same_recordist_and_species: Scored recordings for which a recording of the same species by the same known
            recordist was trained on.
        same_sound: Scored recordings of which a copy was trained on.
    """

    recordings: int
    recordist_known: int
    same_recordist_and_species: int
    same_sound: int

    def describe(self) -> str:
        """Returns what the models saw of the recordists and the sounds that they are scored on, in sentences."""
        return f"{self._describe_recordists()} {self._describe_sounds()}"

    def _describe_recordists(self) -> str:
        known, shared = self.recordist_known, self.same_recordist_and_species
        if not known:
            return (
                "No scored recording has a known recordist, so nobody can tell whether the models were trained on "
                "recordings of that species by the same person; if they were, the scores are too high."
            )
        limits = (
            "" if known == self.recordings else f" Recordists are known for {known} of {self.recordings} recordings."
        )
        if not shared:
            return (
                "The models that score a recording were not trained on any recording of that species by the same "
                f"recordist{', as far as recordists are known' if limits else ''}.{limits}"
            )
        share = 100 * shared / self.recordings
        return (
            f"For {shared} of {self.recordings} scored recordings ({f'{share:.0f}' if share >= 1 else 'less than 1'} "
            "%), the models were trained on recordings of that species by the same recordist, so the scores are too "
            f"high.{limits}"
        )

    def _describe_sounds(self) -> str:
        if self.same_sound:
            return f"The scores are too high; scored recordings with a copy in training: {self.same_sound}."
        return "No copy of a scored recording was trained on, as far as birdclef finds copies."


def measure_overlap(
    recordings: pd.DataFrame, fold: NDArray[np.int64], scored: NDArray[np.bool_] | None = None
) -> Overlap:
    """Returns what the scored recordings share with the training recordings of their fold.

    Args:
        recordings: label, recordist and sound of all usable recordings.
        fold: Validation fold of each recording, (recordings,); -1: training only, -2: held out.
        scored: Which recordings are scored, (recordings,); None: all that belong to a validation fold.
    """
    counted = is_validated(pd.Series(fold)).to_numpy() if scored is None else scored
    known = ~is_unknown(recordings["recordist"])
    alike, copied = _mark_shared(recordings, fold)
    return Overlap(
        int(counted.sum()), int((counted & known).sum()), int((counted & alike).sum()), int((counted & copied).sum())
    )


def count_leaks(recordings: pd.DataFrame, fold: NDArray[np.int64]) -> dict[str, float]:
    """Returns counts of what the validation recordings share with the training recordings of their fold.

    `shared_pairs` counts pairs of recordist and species on both sides. `leaking_recordings` counts the validation
    recordings of such pairs, and `leaking_share` is their share of all validation recordings. `shared_sounds` counts
    the sounds on both sides.

    Args:
        recordings: label, recordist and sound.
        fold: Validation fold of each recording, (recordings,); -1: training only, -2: held out.
    """
    overlap = measure_overlap(recordings, fold)
    alike, copied = _mark_shared(recordings, fold)
    return {
        "shared_pairs": len(recordings.loc[alike, ["label", "recordist"]].drop_duplicates()),
        "leaking_recordings": overlap.same_recordist_and_species,
        "leaking_share": round(overlap.same_recordist_and_species / max(overlap.recordings, 1), 4),
        "shared_sounds": int(recordings.loc[copied, "sound"].nunique()),
    }


def _mark_shared(recordings: pd.DataFrame, fold: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns which recordings share recordist and species with another fold, and which their sound, (recordings,)."""
    pair = recordings["label"] + "\t" + recordings["recordist"]
    alike = lies_in_several_folds(pair, fold, ~is_unknown(recordings["recordist"]))
    return alike, lies_in_several_folds(recordings["sound"], fold, np.ones(len(fold), bool))


def lies_in_several_folds(value: pd.Series, fold: NDArray[np.int64], counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns which recordings share their value with a recording of another fold, (recordings,).

    Args:
        value: What recordings may share, (recordings,).
        fold: Fold of each recording, (recordings,). Held out recordings count for nothing.
        counted: Recordings with a known value, (recordings,).
    """
    used = counted & (fold != TEST_FOLD)
    folds_of_value = pd.Series(fold[used]).groupby(value.to_numpy()[used]).nunique()
    several: NDArray[np.bool_] = used & value.isin(folds_of_value.index[folds_of_value > 1]).to_numpy()
    return several


def name_groups(split: dict[str, Any], recordist: pd.Series) -> str:
    """Returns what the groups of a split are, in the plural, for a sentence such as "Intervals resample ...".

    Args:
        split: Settings of the split.
        recordist: Recordist of each scored recording; empty if unknown.
    """
    group_by = split["group_by"]
    if group_by == RECORDING:
        return "recordings"
    if group_by not in (RECORDIST, RECORDIST_AND_PLACE):
        return f"groups of recordings with the same {group_by}"
    unknown = is_unknown(recordist)
    if unknown.all():
        return "recordings, because no recordist is known"
    alone = ", and recordings without a known recordist one by one" if unknown.any() else ""
    return f"{'recordists' if group_by == RECORDIST else 'recordists at each of their places'}{alone}"
