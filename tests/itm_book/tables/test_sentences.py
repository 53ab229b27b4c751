"""Sentences made of tables: what they say of hand-made rows."""

from __future__ import annotations

import pandas as pd
import pytest

from itm_book.tables import sentences, verdicts
from itm_book.tables.claim_list import Claim
from itm_book.tables.claims import PHOTOGRAPHS, SCENES, Verdicts
from itm_book.tables.verdicts import Judgement

HOLDS = Judgement(
    verdict="holds", label="holds", evidence="", recorded=((2.0, "gain"), (4.0, "gain"))
)
NONE = Judgement(
    verdict="no effect found", label="no effect found", evidence="",
    recorded=((1.0, "not significant"),), seeds="3", detectable="9",
)  # fmt: skip


def claim(number: int, scenes: Judgement, photographs: Judgement) -> Verdicts:
    """A made-up claim with its verdicts."""
    made = Claim(number=number, text="a < b", subject="ours")
    return Verdicts(paper="RCAR", claim=made, on={SCENES: scenes, PHOTOGRAPHS: photographs})


def test_a_headline_has_both_verdicts_the_median_and_all_claims() -> None:
    rows = [claim(1, HOLDS, NONE), claim(2, NONE, verdicts.untested("no run"))]
    assert sentences.headline(rows, 2) == (
        "the verdict on the main claim, that a &lt; b (ours), is on Scenes <em>no effect found "
        "(3 seeds would have shown a gain of 9 rSum)</em>; on photographs <em>not testable</em>; "
        "the median gain is +1.0 rSum (Scenes). Of all 2 claims, on Scenes 1 holds, for 1 no "
        "effect was found; on photographs for 1 no effect was found, 1 cannot be tested"
    )


NOT_TESTED = "not testable"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            {-154.8: NOT_TESTED, 2.0: "gain", 1.0: "not significant", 32.5: NOT_TESTED},
            "of 4 budgets, 2 can be tested: 1 is a significant gain and 0 are significant losses "
            "(+1.0 to +2.0 rSum)",
        ),
        ({-9.0: NOT_TESTED, 2.0: NOT_TESTED}, "none of 2 budgets can be tested yet"),
        (
            {-1.0: "not significant", 2.0: "not significant"},
            "none of 2 budgets shows a significant difference (-1.0 to +2.0 rSum)",
        ),
        ({-1.0: NOT_TESTED}, "the only recorded gain is -1.0 rSum (not testable)"),
    ],
)
def test_a_row_with_one_seed_is_neither_counted_as_tested_nor_an_end_of_the_range(
    rows: dict[float, str], said: str
) -> None:
    table = pd.DataFrame({"gain": list(rows), "effect": list(rows.values())})
    assert sentences.tally(table, "budgets") == said


@pytest.mark.parametrize(
    ("results", "below"),
    [(["best", "below the best", "not significant"], 1), (["best", "not testable"], 0)],
)
def test_the_best_row_is_named_and_those_below_it_counted(results: list[str], below: int) -> None:
    table = pd.DataFrame(
        {"method": ["<a>", "b", "c"][: len(results)], "rSum": "3.0", "result": results}
    )
    text = sentences.best(table, "rows")
    untested = results.count("not testable")
    kept = len(results) - untested
    rows = f"{kept} rows{' with several seeds' * untested}"
    assert text.startswith(f"of {rows}, <em>&lt;a&gt;</em> has the highest rSum, 3.0")
    assert f"of the other {kept - 1}, {below} {'is' if below == 1 else 'are'} " in text
    assert text.endswith("(1 more cannot be tested)" if untested else "significantly lower")


@pytest.mark.parametrize(
    ("seen", "said", "by_chance"),
    [
        (["yes", "no"], "Not as expected: b (1 of 2 runs). ", "0.1 of 2"),
        # of rows with several runs chance puts more outside
        (["yes: 3 runs", "no: 1 of 5 runs"], "Not as expected: b (1 of 8 runs). ", "0.4 of 8"),
        (["unknown: one seed", "no"], "Not as expected: b (1 of 1 run). ", "0.05 of 1"),
        (["yes: 2 runs", "yes"], "All 2 rows are as expected.", ""),
        (["yes", ""], "The row is as expected.", ""),
        (["", "unknown: one seed"], "No row can be compared with the record.", ""),
    ],
)
def test_rows_outside_of_the_record_are_named_with_what_that_means(
    seen: list[str], said: str, by_chance: str
) -> None:
    table = pd.DataFrame({"method": ["a", "b"], "as expected": seen})
    text = sentences.agreement(table)
    assert text.startswith(said)
    assert (f"Chance alone puts {by_chance} outside" in text) == said.startswith("Not")
