"""Labels of differences and verdicts on claims: by hand, and every combination of rows."""

from __future__ import annotations

import itertools
import math

import pytest

from itm_book.tables import labels
from itm_book.tables.labels import (
    AGAINST,
    GAIN,
    HOLDS,
    LOSS,
    MIXED,
    NO_EFFECT,
    NONE_FOUND,
    UNTESTABLE,
    VERDICTS,
)

NAN = math.nan


def test_a_difference_must_pass_both_tests() -> None:
    assert labels.combined_p(0.01, 0.2) == 0.2
    assert labels.combined_p(0.3, 0.002) == 0.3
    assert math.isnan(labels.combined_p(0.01, NAN))
    assert math.isnan(labels.combined_p(NAN, 0.01))


@pytest.mark.parametrize(
    ("difference", "p", "said"),
    [
        (3.0, 0.049, GAIN), (-3.0, 0.049, LOSS), (3.0, 0.05, NO_EFFECT), (-3.0, 0.05, NO_EFFECT),
        (3.0, 0.9, NO_EFFECT), (0.0, 0.0, NO_EFFECT), (3.0, NAN, UNTESTABLE),
        (NAN, 0.01, UNTESTABLE), (1e-9, 0.0, GAIN),
    ],
)  # fmt: skip
def test_a_difference_counts_below_five_percent(difference: float, p: float, said: str) -> None:
    assert labels.effect(difference, p) == said


@pytest.mark.parametrize(
    ("differences", "p", "label"),
    [
        ([1, 1], [0.01, 0.02], HOLDS),
        ([1], [0.04], HOLDS),
        ([1, 1], [0.03, 0.04], NONE_FOUND),  # corrected 0.06 and 0.06
        ([1, 1], [0.02, 0.04], HOLDS),  # corrected 0.04 and 0.04
        ([-1, -2], [0.01, 0.02], AGAINST),
        ([-1, 1], [0.01, 0.02], MIXED),
        ([1, 1], [0.01, 0.5], MIXED),
        ([-1, 1], [0.01, 0.5], MIXED),  # one loss beside an undecided row is no contradiction
        ([-1, 5, -1], [0.01, 0.01, 0.9], MIXED),
        ([3, -4, 5], [0.5, 0.6, 0.7], NONE_FOUND),
        ([3, 4], [NAN, NAN], UNTESTABLE),
        ([], [], UNTESTABLE),
        ([3, 4], [0.04, NAN], HOLDS),  # of what could be tested
    ],
)
def test_verdicts_by_hand(differences: list[float], p: list[float], label: str) -> None:
    assert labels.verdict(differences, p) == label


ROWS = {
    GAIN: (1.0, 0.0001), LOSS: (-1.0, 0.0001), NO_EFFECT: (1.0, 0.9), UNTESTABLE: (1.0, NAN),
}  # fmt: skip


def expected(kinds: tuple[str, ...]) -> str:
    """The table of the docstring, read line by line."""
    tested = [kind for kind in kinds if kind != UNTESTABLE]
    if not tested:
        return UNTESTABLE
    for kind, label in ((GAIN, HOLDS), (LOSS, AGAINST), (NO_EFFECT, NONE_FOUND)):
        if tested.count(kind) == len(tested):
            return label
    return MIXED


def test_every_combination_of_rows_has_its_verdict() -> None:
    seen = set()
    for length in range(5):
        for kinds in itertools.product(ROWS, repeat=length):
            rows = [ROWS[kind] for kind in kinds]
            label = labels.verdict([d for d, _ in rows], [p for _, p in rows])
            assert label == expected(kinds), kinds
            seen.add(label)
    assert seen == set(VERDICTS)
