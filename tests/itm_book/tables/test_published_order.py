"""The published order: every number is one of the published tables, looked up by hand."""

from __future__ import annotations

import pytest

from itm_book.records import grids
from itm_book.tables import claims, published_order
from tests.itm_book.tables.test_comparison import GRID, three

READ_BY_HAND = {  # both R@1 on Flickr30K, from the tables' own lines
    "SCAN t2i": 61.8 + 45.8,
    "SCAN i2t": 67.9 + 43.9,
    "BFAN": 65.5 + 47.9,
    "PFAN": 66.0 + 49.6,
    "SAF": 73.7 + 56.1,
    "SGR": 75.2 + 56.2,
    "VSE-GPO": 76.5 + 56.4,
    "CHAN": 79.7 + 60.2,
    "CHAN, BERT": 80.6 + 63.9,
    "RCAR t2i": 79.7 + 60.9,
    "RCAR i2t": 76.9 + 58.8,
}


def test_every_row_has_the_number_of_its_paper() -> None:
    grid = grids.load(claims.GRID)
    dots = published_order.dots(grid).set_index("name")
    assert dots["value"].to_dict() == pytest.approx(READ_BY_HAND)
    assert set(dots.index) <= set(grid.rows)
    assert dots["low"].isna().all()


def test_recorded_rows_are_the_sum_of_both_recalls_over_seeds() -> None:
    group = three(2.0)
    dots = published_order.recorded_dots({"host": group, "an ensemble": group}, GRID)
    assert dots["name"].tolist() == ["host"]
    expected = sum(r.metrics["i2t_r1"] + r.metrics["t2i_r1"] for r in group) / 3
    row = dots.iloc[0]
    assert row["value"] == pytest.approx(expected)
    assert row["low"] < row["value"] < row["high"]
    assert list(published_order.recorded_dots({}, GRID)) == list(dots)
