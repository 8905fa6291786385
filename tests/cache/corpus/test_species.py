import pytest

from cache.corpus.song import Phrase
from cache.corpus.species import MAX_SPECIES, SPECIES_PER_GENUS, parse_score, species_table


def test_names_and_labels_are_unique() -> None:
    table = species_table(MAX_SPECIES)
    for names in (
        [one.label for one in table],
        [one.scientific_name for one in table],
        [one.common_name for one in table],
    ):
        assert len(set(names)) == MAX_SPECIES


def test_longer_table_begins_with_the_shorter_one() -> None:
    assert species_table(40)[:24] == species_table(24)


def test_species_of_a_genus_share_syllables_but_not_songs() -> None:
    genera: dict[int, list[int]] = {}
    table = species_table(24)
    for one in table:
        genera.setdefault(one.genus, []).append(one.number)
    assert {len(members) for members in genera.values()} == {SPECIES_PER_GENUS}
    for members in genera.values():
        grammars = [table[number].grammar for number in members]
        assert len({(one.phrases, one.inventory, one.drift_octaves, one.centre_hz) for one in grammars}) == 4
        durations = {tuple(syllable.seconds for syllable in one.inventory) for one in grammars}
        assert len(durations) == 1
        assert max(one.centre_hz for one in grammars) < 2 * min(one.centre_hz for one in grammars)


def test_score_reads_syllables_repeats_and_reversals() -> None:
    assert parse_score("a*1-2 bC*3-4") == ((Phrase((0,), 1, 2), Phrase((1, 2), 3, 4)), frozenset({2}))


def test_wrong_score_is_named() -> None:
    with pytest.raises(ValueError, match=r"Phrase 'b3' of the score 'a\*1-2 b3'"):
        parse_score("a*1-2 b3")


def test_capital_reverses_the_note_in_time() -> None:
    by_label = {one.label: one.grammar for one in species_table(24)}
    down, up = by_label["synhoo3"].inventory[1], by_label["synhoo2"].inventory[1]
    assert up.contour == down.contour[::-1]
    assert up.contour != down.contour
