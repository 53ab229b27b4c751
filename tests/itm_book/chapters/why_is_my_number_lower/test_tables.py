"""Tables of differences: hand-worked numbers, as they are shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from itm_book.chapters.why_is_my_number_lower import tables
from itm_book.chapters.why_is_my_number_lower.tables import COLUMNS
from itm_book.tables import comparison
from itm_core.evaluation import statistics
from tests.itm_book.tables.test_comparison import GRID, three


def hits(*values: float) -> np.ndarray:
    """Hits [I, 7] whose last column, rSum, is given."""
    found = np.zeros((len(values), 7))
    found[:, -1] = values
    return found


def test_a_difference_is_what_you_have_minus_what_you_hoped_for() -> None:
    pairs = [(hits(100, 200), hits(110, 230)), (hits(100, 200), hits(100, 200))]
    table = tables.score_differences({"halved": pairs}, against="whole", group="g", on="d")
    row = table.iloc[0]
    assert list(table.columns) == COLUMNS
    assert row["gain"] == pytest.approx(-10)  # (-10 - 30) / 2 images, and half of it with 2 seeds
    assert row["spread"] == pytest.approx(np.std([-20, 0], ddof=1))
    assert row["low"] == pytest.approx(-15)  # both resampled images are the second
    assert row["high"] == pytest.approx(-5)
    assert (row["seeds"], row["effect"], row["against"]) == (2, "loss", "whole")
    assert (row["p"], row["by"]) == (1 / statistics.RESAMPLES, "images")


def test_without_a_difference_nothing_is_significant() -> None:
    same = (hits(1, 2, 3), hits(1, 2, 3))
    table = tables.score_differences({"same": [same]}, against="a", group="g", on="d")
    assert table["effect"].tolist() == ["not significant"]
    assert table["p"].tolist() == [1]
    assert np.isnan(table["spread"][0])


def test_rows_of_a_grid_are_judged_as_everywhere() -> None:
    results = {"host": three(2.5), "other": three(1.0, noise=7)}
    table = tables.row_differences(results, GRID, names={"other": "renamed"}, group="mine")
    expected = comparison.gains(results, GRID).iloc[0]
    row = table.iloc[0]
    assert (row["name"], row["against"], row["group"], row["on"]) == (
        "renamed", "host", "mine", "fake",
    )  # fmt: skip
    assert row["gain"] == expected["gain"] < 0
    assert row["effect"] == expected["effect"] == "loss"
    assert (row["p"], row["by"]) == (expected["p"], "images and seeds")
    floored = tables.row_differences(results, GRID, floor=1000.0).iloc[0]
    assert floored["effect"] == "not significant"
    alone = {name: group[:1] for name, group in results.items()}
    assert tables.row_differences(alone, GRID)["effect"].tolist() == ["not testable"]


def test_rows_that_were_not_run_make_an_empty_table() -> None:
    table = tables.row_differences({"host": three(2.0)}, GRID)
    assert table.empty
    assert list(table.columns) == COLUMNS
    assert tables.readable(table).empty
    assert tables.summary(table, table).empty


def rows(*gains: tuple[str, float, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            dict(
                zip(
                    COLUMNS,
                    (n, "a", "g", "d", 1, v, v - 1, v + 1, np.nan, 0.5, "images", s, [n]),
                    strict=True,
                )
            )
            for n, v, s in gains
        ]
    )


def test_a_summary_begins_with_the_largest_loss() -> None:
    first = rows(("small", -2.0, "loss"))
    both = tables.summary(first.assign(extra=1), rows(("big", -9.0, "loss")))
    assert both["name"].tolist() == ["big", "small"]
    assert list(both.columns) == COLUMNS


def test_a_readable_table_has_the_numbers_of_its_rows() -> None:
    table = rows(("b", 3.0, "gain"), ("<a>", -2.0, "loss"), ("c", 0.5, "not significant"))
    shown = tables.readable(table.assign(**{"moved (%)": [1.0, 2.0, 3.25]}))
    assert shown["difference in rSum"].tolist()[0] == "+3.0 [+2.0, +4.0]"
    assert shown["effect"].tolist() == ["higher", "lower", "not significant"]
    assert shown["p"].tolist() == ["0.500"] * 3
    assert shown["tested over"].tolist() == ["images"] * 3
    assert shown["moved (%)"].tolist() == ["1.0", "2.0", "3.2"]
