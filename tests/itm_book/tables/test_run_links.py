"""Links and marks: every row of a table leads to its runs, whatever is done to the table."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itm_book.records.results import Uncommitted
from itm_book.tables import report
from itm_book.tables.notes import Note, note_of
from itm_book.tables.report import FOOTNOTE, MARK
from itm_book.tables.run_links import linked, marked, of_run, run_link


def test_a_row_leads_to_its_first_run_and_names_all() -> None:
    table = pd.DataFrame({"method": ["one", "two", "none"], "rSum": ["1.0", "2.0", "3.0"]})
    runs = [["d/r/0-a", "d/r/1-b"], ["d/r/0-a + d/s/0-c"], []]
    shown = linked(table, {"rSum": runs})
    first, second, third = map(note_of, shown["rSum"])
    assert (first.link, first.text) == (run_link("d/r/0-a"), "runs: d/r/0-a, d/r/1-b")
    assert second.text == "runs, averaged: d/r/0-a, d/s/0-c"
    assert third is None
    page = report.html(shown, "two rows").data
    assert page.count('href="../book/runs.html#run-d-r-0-a"') == 2
    assert "href" not in report.html(shown, "without", notes={}).data
    assert "href" not in report.html(table, "as it was").data


def test_a_table_of_one_run_leads_to_it() -> None:
    shown = of_run(pd.DataFrame({"gallery": ["whole", "best"], "rSum": [1.0, 2.0]}), "d/r/0-a")
    assert [note_of(cell).link for cell in shown["gallery"]] == [run_link("d/r/0-a")] * 2


def test_an_empty_table_has_no_links() -> None:
    assert linked(pd.DataFrame(), {"rSum": ()}).empty


def folders(names: list[str]) -> list[list[str]]:
    return [[f"d/{name}/0-f"] for name in names]


def table_of(names: list[str], values: list[object]) -> pd.DataFrame:
    """Return a table whose rows lead to a run that has the name of their row."""
    table = pd.DataFrame({"name": names, "rSum": values})
    return linked(table, {"rSum": folders(names)})


def check(table: pd.DataFrame) -> None:
    links = [note_of(cell).link for cell in table["rSum"]]
    assert links == [run_link(f"d/{name}/0-f") for name in table["name"]]
    page = report.html(table, "").data
    places = [page.index(f"run-d-{name}-0-f") for name in table["name"]]
    assert places == sorted(places)


KINDS = {
    "texts": lambda numbers: [f"{n}.0 [1.0, 2.0]" for n in numbers],
    "integers": lambda numbers: [int(n) for n in numbers],
    "numbers": lambda numbers: [n + 0.25 for n in numbers],
    "numbers of numpy": lambda numbers: list(np.array(numbers, np.float64)),
    "with gaps": lambda numbers: [np.nan if n % 2 else float(n) for n in numbers],
}


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)  # a busy machine is no fault of the table
@given(
    numbers=st.lists(st.integers(0, 99), min_size=2, max_size=8, unique=True), seed=st.integers()
)
def test_links_follow_their_rows(kind: str, numbers: list[int], seed: int) -> None:
    names = [f"m{n}" for n in numbers]
    table = table_of(names, KINDS[kind](numbers))
    plain = pd.DataFrame({"name": names, "rSum": KINDS[kind](numbers)})
    for order in (True, False):
        ours = table.sort_values("rSum", ascending=order, kind="stable")
        theirs = plain.sort_values("rSum", ascending=order, kind="stable")
        assert ours["name"].tolist() == theirs["name"].tolist()
        check(ours)
        check(ours.reset_index(drop=True))
    check(table[::-1])
    check(table[table["name"] != names[0]])
    check(table.sample(frac=1.0, random_state=abs(seed) % 2**32))
    half = random.Random(seed).randint(0, len(names))
    check(pd.concat([table[half:], table[:half]]))
    check(pd.concat([table[half:], table[:half]], ignore_index=True))
    check(table.merge(pd.DataFrame({"name": names[::-1], "more": 1}), on="name", how="right"))
    check(table.drop(columns="name").assign(name=names))
    check(table.set_index("name").reset_index())


def test_tables_of_different_columns_keep_their_links_when_joined() -> None:
    one = table_of(["a", "b"], [1.0, 2.0])
    other = pd.DataFrame({"name": ["c"], "rSum": [3.0], "extra": ["x"]})
    both = pd.concat([other, one], ignore_index=True)
    assert [note_of(cell) is None for cell in both["rSum"]] == [True, False, False]
    page = report.html(both, "").data
    assert page.index(">3.0<") < page.index("run-d-a-0-f") < page.index("run-d-b-0-f")


def test_a_recorded_number_of_uncommitted_code_is_marked() -> None:
    table = pd.DataFrame({"method": ["old", "new"], "rSum": ["1.0", "2.0"]})
    shown = linked(table, {"rSum": [["d/r/0-a", Uncommitted("d/r/1-b")], ["d/r/0-c"]]})
    page = report.html(shown.sort_values("rSum", ascending=False), "two rows").data
    assert page.count(f">{MARK}</sup>") == 1
    assert page.index(">2.0<") < page.index(">1.0<") < page.index(f">{MARK}</sup>")
    assert page.endswith(f"{FOOTNOTE}</figure>")
    assert f"{MARK} made by code with uncommitted changes</p>" in FOOTNOTE
    assert MARK not in report.html(shown[shown["method"] == "new"], "one row").data


def test_rows_of_a_record_are_marked_by_their_commits() -> None:
    table = pd.DataFrame({"seconds": [1.0, 2.0, 3.0, 4.0, None]})
    commits = ["c0082a58b567", "c0082a58b567+", "", None, np.nan]
    shown = marked(table, "seconds", commits)
    assert [note_of(cell) for cell in shown["seconds"]] == [
        None,
        Note(uncommitted=True),
        Note(uncommitted=True),
        None,
        None,
    ]
    page = report.html(shown, "seconds").data
    assert page.count("</sup>") == 2
    assert FOOTNOTE in page
    assert MARK not in report.html(marked(table, "seconds", ["a"] * 5), "").data
