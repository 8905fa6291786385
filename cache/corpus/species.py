"""The invented species of the generated corpus: names, codes and songs.

Each genus has four species. The species of a genus share a frequency band and syllables. They differ in the direction
of their notes, in the order of the notes and in the tempo, which a mean spectrum hardly shows. The songs do not depend
on the seed of a corpus: a species sings the same song in every corpus.
"""

import re
from dataclasses import dataclass, replace

from cache.corpus.song import Grammar, Phrase, Syllable

SPECIES_PER_GENUS = 4
_EPITHETS = (
    ("Northern", "septentrio"), ("Dusky", "fumosa"), ("Lesser", "minuta"),
    ("Golden", "aurelia"), ("Marsh", "lutosa"), ("Crested", "pileolata"),
    ("Pale", "albicans"), ("Highland", "altimontis"), ("Reed", "canneti"),
    ("Masked", "larvata"), ("Silver", "argyra"), ("Plain", "simplicior"),
    ("Coastal", "litorea"), ("Bearded", "barbulata"), ("Ashy", "cinerosa"),
    ("Greater", "magnifica"),
)  # fmt: skip
_GENUS_ENDINGS = ("sona", "cantrix", "phona", "lyra")


@dataclass(frozen=True)
class Species:
    """One invented species.

    Attributes:
        number: Row of the species in the table of species.
        label: Invented code in the style of eBird, such as synflu1.
        genus: Index of the genus.
        scientific_name: Invented binomial.
        common_name: Invented English name.
        grammar: Grammar of the song.
    """

    number: int
    label: str
    genus: int
    scientific_name: str
    common_name: str
    grammar: Grammar


@dataclass(frozen=True)
class SongForm:
    """How a species uses the syllables of its genus.

    Attributes:
        score: Phrases such as "a*1-2 bC*3-4": syllables by letter (a capital letter: reversed in time), then `*`, the
            least and the highest number of repeats.
        tempo: Factor on the genus' speed.
        shift_octaves: Pitch above the genus' centre.
        drift_octaves: Change of pitch over a song.
    """

    score: str
    tempo: float = 1.0
    shift_octaves: float = 0.0
    drift_octaves: float = 0.0


@dataclass(frozen=True)
class Genus:
    """The common properties of related species, and the form of each species' song."""

    stem: str
    noun: str
    centre_hz: float
    syllables: tuple[Syllable, ...]
    gap_seconds: float
    pause_seconds: float
    forms: tuple[SongForm, SongForm, SongForm, SongForm]


_NASAL = (-6.0, 0.0, -3.0, -8.0, -12.0)
_HOLLOW = (0.0, -12.0, -22.0)

_GENERA = (
    Genus(  # fluted whistles, as of thrushes
        "Fluti",
        "Fluter",
        2500.0,
        (
            Syllable((0.0, 0.12, 0.1, 0.0), 0.26),
            Syllable((0.4, 0.25, -0.05, -0.2), 0.2),
            Syllable((0.15, 0.2, 0.15), 0.3, warble_octaves=0.09, warble_hz=26),
        ),
        0.07,
        1.3,
        (
            SongForm("a*1-2 b*2-3 c*1-1"),
            SongForm("a*1-2 B*2-3 c*1-1", shift_octaves=0.08),
            SongForm("ab*3-4", tempo=1.25, shift_octaves=-0.28),
            SongForm("c*2-3 aB*1-2", tempo=0.9, shift_octaves=0.3),
        ),
    ),
    Genus(  # trills of chips, as of chipping sparrows
        "Trilli",
        "Triller",
        4300.0,
        (
            Syllable((0.4, 0.1, -0.3), 0.05),
            Syllable((-0.2, 0.25, -0.15), 0.065),
            Syllable((0.05, 0.0, 0.05), 0.2),
        ),
        0.035,
        1.5,
        (
            SongForm("a*14-19"),
            SongForm("A*14-19", shift_octaves=-0.08),
            SongForm("c*1-2 b*9-13", tempo=0.9, shift_octaves=0.3),
            SongForm("a*6-9 b*5-8", tempo=1.1, shift_octaves=-0.28),
        ),
    ),
    Genus(  # buzzes, as of grasshopper warblers and clay-coloured sparrows
        "Buzzo",
        "Buzzer",
        4600.0,
        (
            Syllable((0.2, 0.1, -0.2), 0.34, (0.0, -14.0), buzz_hz=95),
            Syllable((0.1, -0.15), 0.09),
            Syllable((0.0, 0.05, 0.0), 0.3, (0.0, -14.0), buzz_hz=52),
        ),
        0.08,
        1.4,
        (
            SongForm("b*2-3 a*1-1"),
            SongForm("b*2-3 A*1-1", shift_octaves=0.08),
            SongForm("a*2-4", tempo=1.1, shift_octaves=0.3),
            SongForm("c*1-2 b*2-3", tempo=0.95, shift_octaves=-0.3),
        ),
    ),
    Genus(  # cadences, as of willow warblers
        "Slidi",
        "Slider",
        3500.0,
        (
            Syllable((0.3, 0.0, -0.1), 0.11),
            Syllable((-0.1, 0.2, 0.1), 0.13),
            Syllable((0.25, -0.25), 0.07),
        ),
        0.06,
        1.6,
        (
            SongForm("a*4-6 b*3-5", drift_octaves=-0.6),
            SongForm("a*4-6 b*3-5", drift_octaves=0.6),
            SongForm("ac*4-6", tempo=1.2, shift_octaves=0.28),
            SongForm("C*5-8 b*2-3", tempo=0.95, shift_octaves=-0.25, drift_octaves=-0.4),
        ),
    ),
    Genus(  # hollow coos, as of doves and cuckoos
        "Hooti",
        "Hooter",
        850.0,
        (
            Syllable((-0.1, 0.08, 0.05, -0.1), 0.3, _HOLLOW),
            Syllable((0.2, 0.18, -0.15), 0.22, _HOLLOW),
            Syllable((0.0, 0.03), 0.1, _HOLLOW),
        ),
        0.11,
        1.4,
        (
            SongForm("c*1-2 a*1-1 b*1-1"),
            SongForm("B*2-3", shift_octaves=0.08),
            SongForm("b*2-3", tempo=0.95, shift_octaves=-0.3),
            SongForm("c*5-8 a*1-1", tempo=1.15, shift_octaves=0.35),
        ),
    ),
    Genus(  # nasal stacks of harmonics, as of jays and nuthatches
        "Raspi",
        "Rasper",
        1350.0,
        (
            Syllable((0.12, 0.1, -0.25), 0.2, _NASAL),
            Syllable((0.0, 0.08, 0.0), 0.26, _NASAL, buzz_hz=70),
            Syllable((0.1, 0.0), 0.06, _NASAL),
        ),
        0.09,
        1.5,
        (
            SongForm("a*2-4"),
            SongForm("A*2-4", shift_octaves=-0.08),
            SongForm("c*4-7 a*1-1", tempo=1.1, shift_octaves=0.32),
            SongForm("b*1-2 c*3-4", tempo=0.95, shift_octaves=-0.28),
        ),
    ),
)


MAX_SPECIES = len(_GENERA) * SPECIES_PER_GENUS * len(_GENUS_ENDINGS)


def species_table(count: int) -> tuple[Species, ...]:
    """Returns the first `count` species, at most `MAX_SPECIES`; genera take turns. `count` changes no species."""
    return tuple(_make_species(number) for number in range(count))


def parse_score(score: str) -> tuple[tuple[Phrase, ...], frozenset[int]]:
    """Returns the phrases of a score, and the indices of the syllables that it reverses.

    Raises:
        ValueError: If a phrase does not have the form of `SongForm.score`.
    """
    phrases, reversed_syllables = [], set()
    for text in score.split():
        match = re.fullmatch(r"([a-zA-Z]+)\*(\d+)-(\d+)", text)
        if match is None:
            raise ValueError(f"Phrase {text!r} of the score {score!r} does not have the form ab*2-3.")
        letters, fewest, most = match.groups()
        phrases.append(Phrase(tuple(ord(letter.lower()) - ord("a") for letter in letters), int(fewest), int(most)))
        reversed_syllables |= {ord(letter.lower()) - ord("a") for letter in letters if letter.isupper()}
    return tuple(phrases), frozenset(reversed_syllables)


def _make_species(number: int) -> Species:
    """Returns species `number`. Genera take turns; after all their species, new genera with shifted songs follow."""
    base_index, turn = number % len(_GENERA), number // len(_GENERA)
    round_number, position = divmod(turn, SPECIES_PER_GENUS)
    base, form = _GENERA[base_index], _GENERA[base_index].forms[position]
    phrases, reversed_syllables = parse_score(form.score)
    grammar = Grammar(
        centre_hz=base.centre_hz * 2 ** (form.shift_octaves + 0.22 * round_number),
        inventory=tuple(
            replace(syllable, contour=syllable.contour[::-1]) if index in reversed_syllables else syllable
            for index, syllable in enumerate(base.syllables)
        ),
        phrases=phrases,
        gap_seconds=base.gap_seconds,
        pause_seconds=base.pause_seconds,
        tempo=form.tempo * 1.3**round_number,
        drift_octaves=form.drift_octaves,
    )
    english, latin = _EPITHETS[(base_index + turn) % len(_EPITHETS)]
    return Species(
        number=number,
        label=f"syn{base.stem[:3].lower()}{turn + 1}",
        genus=base_index + len(_GENERA) * round_number,
        scientific_name=f"{base.stem}{_GENUS_ENDINGS[round_number]} {latin}",
        common_name=f"{english} {base.noun}",
        grammar=grammar,
    )
