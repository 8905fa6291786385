import numpy as np

from cache.corpus.recordists import assign_recordists, draw_recordists


def test_known_recordists_have_names_of_their_own_and_unknown_ones_none() -> None:
    recordists = draw_recordists(600, 2, np.random.default_rng(0))
    assert len({one.name for one in recordists[:600]}) == 600
    assert [one.name for one in recordists[600:]] == ["", ""]


def test_ten_recordists_cover_all_codecs_and_rates() -> None:
    recordists = draw_recordists(10, 0, np.random.default_rng(0))
    assert {one.codec for one in recordists} == {"ogg", "mp3", "wav", "flac"}
    assert {one.sample_rate for one in recordists} == {22_050, 32_000, 44_100, 48_000}
    assert {one.stereo for one in recordists} == {True, False}


def test_each_recording_gets_a_recordist_and_each_species_three() -> None:
    counts = [40, 12, 5, 3, 2]
    assigned = assign_recordists(counts, [0, 1, 0, 1, 2], 12, np.random.default_rng(0))
    assert [len(one) for one in assigned] == counts
    assert [len(set(one.tolist())) for one in assigned] == [10, 3, 3, 3, 2]
    assert max(max(one) for one in assigned) < 12


def test_work_is_shared_evenly() -> None:
    assigned = assign_recordists([10] * 24, [index % 6 for index in range(24)], 30, np.random.default_rng(0))
    load = np.bincount(np.concatenate(assigned), minlength=30)
    assert load.min() >= 4
    assert load.max() <= 14


def test_recordists_rarely_have_two_species_of_a_genus() -> None:
    genera = [index % 6 for index in range(24)]
    assigned = assign_recordists([10] * 24, genera, 30, np.random.default_rng(0))
    pairs = {(who, number) for number, one in enumerate(assigned) for who in one.tolist()}
    genus_pairs = {(who, genera[number]) for who, number in pairs}
    assert len(genus_pairs) >= 0.95 * len(pairs)
