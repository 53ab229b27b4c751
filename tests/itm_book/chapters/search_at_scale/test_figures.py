"""Pictures of the search: a line for each gallery, and nothing drawn that was not reached."""

from __future__ import annotations

import numpy as np
import pandas as pd

from itm_book.chapters.search_at_scale import figures

ROWS = pd.DataFrame(
    {
        "gallery": [1000, 1000, 1000, 9000, 9000],
        "candidates": [10, 100, 1000, 10, 9000],
        "recall": [0.5, 0.99, 1.0, 0.3, 1.0],
        "milliseconds": [5.0, 9.0, 70.0, 6.0, 600.0],
        "processor_milliseconds": [2.0, 3.0, 40.0, 2.0, 400.0],
        "first": [1.0, 1.0, np.nan, 1.0, np.nan],
        "read": [1.0, 2.0, np.nan, 1.0, np.nan],
        "rank": [3.0, 6.0, np.nan, 4.0, np.nan],
    }
)


def test_each_gallery_has_a_line_and_its_exact_ranking_a_cross() -> None:
    for axes in figures.trade_off(ROWS).axes:
        named = [line for line in axes.lines if not line.get_label().startswith("_")]
        assert [line.get_label() for line in named] == ["1,000 images", "9,000 images"]
        assert [len(line.get_xdata()) for line in named] == [2, 1]
        assert sum(line.get_marker() == "x" for line in axes.lines) == 2


def test_parts_are_drawn_where_the_recall_is_reached() -> None:
    axes = figures.parts(ROWS).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1, 2, 6]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["1,000 images,\n100 candidates"]
    assert "no gallery" in figures.parts(ROWS, wanted=1.0).axes[0].texts[0].get_text()


def test_shares_of_a_spread_add_up_to_one() -> None:
    draw = np.random.default_rng(0)
    axes = figures.spread({"real": draw.random((9, 4)), "glued": draw.random(50)}).axes[0]
    for step in axes.patches:
        np.testing.assert_allclose(step.get_data().values.sum(), 1)
