"""Links: every row of a table leads to its runs."""

from __future__ import annotations

import pandas as pd

from itm_core.tables import report
from itm_core.tables.run_links import linked, of_run, run_link


def test_a_row_leads_to_its_first_run_and_names_all() -> None:
    table = pd.DataFrame({"method": ["one", "two", "none"], "rSum": ["1.0", "2.0", "3.0"]})
    runs = [["d/r/0-a", "d/r/1-b"], ["d/r/0-a + d/s/0-c"], []]
    first, second, third = linked(table, {"rSum": runs}).attrs["notes"]["rSum"]
    assert (first.link, first.text) == (run_link("d/r/0-a"), "runs: d/r/0-a, d/r/1-b")
    assert second.text == "runs, averaged: d/r/0-a, d/s/0-c"
    assert third is None
    page = report.html(table, "two rows").data
    assert page.count('href="../book/runs.html#run-d-r-0-a"') == 2
    assert "href" not in report.html(table, "without", notes={}).data


def test_a_table_of_one_run_leads_to_it() -> None:
    shown = of_run(pd.DataFrame({"gallery": ["whole", "best"], "rSum": [1.0, 2.0]}), "d/r/0-a")
    assert [note.link for note in shown.attrs["notes"]["gallery"]] == [run_link("d/r/0-a")] * 2
