"""Every table of recorded results marks the rows that code in no commit has made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from itm_book.chapters import plugin_matrix
from itm_book.chapters.photographs import recalls
from itm_book.chapters.why_is_my_number_lower import tables as differences
from itm_book.records import grids, results
from itm_book.records.grid_names import grid_names
from itm_book.records.results import Result, Results, Uncommitted
from itm_book.tables import attention_table, claims, comparison, report, verdicts
from itm_book.tables.claim_list import Claim
from itm_book.tables.claims import Verdicts
from itm_book.tables.notes import note_of
from itm_book.tables.report import FOOTNOTE, MARK
from tests.itm_book.tables.test_comparison import GRID, three

CLEAN, OLD = "c0082a58b567", "c0082a58b567+"


def recorded(*commits: str, strength: float = 2.0) -> list[Result]:
    """Return recorded results of three seeds, made by code of these commits."""
    return [
        replace(result, recorded=True, where={**result.where, "commit": commit})
        for result, commit in zip(three(strength, 0.5), commits, strict=True)
    ]


FOUND = {
    "host": recorded(CLEAN, CLEAN, CLEAN),
    "other": recorded(CLEAN, OLD, CLEAN),
    "host + RCR": recorded(CLEAN, CLEAN, CLEAN, strength=2.5),
}
TABLES: dict[str, Callable[[Results], pd.DataFrame]] = {
    "means": lambda found: comparison.readable(comparison.compare(found, GRID)),
    "recalls": recalls.recalls,
    "attention": attention_table.quality,
    "gains": lambda found: comparison.readable_gains(comparison.gains(found, GRID)),
    "gains of attention": lambda found: attention_table.readable_gains(
        attention_table.gains(found, GRID)
    ),
    "differences": lambda found: differences.readable(differences.row_differences(found, GRID)),
}


def marked(table: pd.DataFrame) -> list[str]:
    """Return the name of every row with a mark."""
    name = "method" if "method" in table else "what you have"
    notes = table.map(note_of)
    rows = notes.map(lambda note: note is not None and note.uncommitted).any(axis=1)
    return table.loc[rows, name].tolist()


@pytest.mark.parametrize("name", TABLES)
def test_a_row_with_a_run_of_uncommitted_code_is_marked(name: str) -> None:
    shown = TABLES[name](FOUND)
    assert marked(shown) == ["other"]
    page = report.html(shown, "table").data
    assert page.count(f">{MARK}</sup>") == 1
    assert FOOTNOTE in page
    clean = TABLES[name](FOUND | {"other": recorded(CLEAN, CLEAN, CLEAN)})
    assert MARK not in report.html(clean, "table").data


def test_a_gain_over_a_host_of_uncommitted_code_is_marked() -> None:
    found = FOUND | {"host": recorded(OLD, CLEAN, CLEAN), "other": FOUND["host"]}
    shown = comparison.readable_gains(comparison.gains(found, GRID))
    assert marked(shown) == ["other", "host + RCR"]


def test_claims_and_counts_on_rows_of_uncommitted_code_are_marked() -> None:
    for found, expected in (
        (FOUND, True),
        (FOUND | {"other": recorded(CLEAN, CLEAN, CLEAN)}, False),
    ):
        gained = comparison.gains(found, GRID)
        judged = verdicts.judge(gained)
        assert judged.uncommitted is expected
        claim = Claim(number=1, text="it helps")
        message = claims.table([Verdicts(paper="", claim=claim, on={"Scenes": judged})])
        for shown in (message, plugin_matrix.tally(gained)):
            assert (MARK in report.html(shown, "table").data) is expected


def test_what_was_made_here_is_not_marked_beside_the_record() -> None:
    shown = comparison.trained_and_recorded({"other": three(2.0)}, FOUND)
    assert note_of(shown.loc[0, "rSum"]).uncommitted is False
    assert note_of(shown.loc[0, "rSum, recorded"]).uncommitted is True


def test_the_record_that_ships_is_marked_where_its_code_is_in_no_commit() -> None:
    for name in grid_names():
        grid = grids.load(name)
        found = results.recorded(grid, "smoke")
        old = 0
        for group in found.values():
            uncommitted = [isinstance(result.run, Uncommitted) for result in group]
            assert uncommitted == [r.where["commit"].endswith("+") for r in group]
            old += any(uncommitted)
        page = report.html(comparison.readable(comparison.compare(found, grid)), name).data
        assert page.count(f">{MARK}</sup>") == old
        assert (FOOTNOTE in page) == bool(old)
