"""Dots of trainings that differ in rounding alone: each is drawn where its rSum is."""

from __future__ import annotations

import pandas as pd

from itm_book.chapters.why_is_my_number_lower import spread

ROWS = pd.DataFrame(
    {
        "recipe": ["scan-t2i-mean-smoke"] * 4 + ["chan-smoke"] * 2,
        "seed": [0, 0, 1, 1, 0, 0],
        "variant": ["avx2", "1 thread", "1 thread", "avx2", "1 thread", "avx2"],
        "rsum": [304.0, 300.0, 310.0, 318.0, 200.0, 204.0],
    }
)


def test_every_training_is_a_dot_with_the_mark_of_its_variant() -> None:
    figure = spread.dots(ROWS)
    scan, chan = figure.axes
    assert (scan.get_title(), chan.get_title()) == ("scan-t2i-mean-smoke", "chan-smoke")
    drawn = {
        (line.get_xdata()[0], line.get_ydata()[0], line.get_marker())
        for line in scan.lines
        if line.get_marker() in spread.MARKS
    }
    assert drawn == {(300, 0, "o"), (304, 0, "s"), (310, 1, "o"), (318, 1, "s")}
    assert [text.get_text() for text in scan.get_yticklabels()] == ["seed 0", "seed 1"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["1 thread", "avx2"]


def test_a_seed_has_its_range_and_its_mean() -> None:
    lines = spread.dots(ROWS).axes[0].lines
    ranges = [tuple(line.get_xdata()) for line in lines if len(line.get_xdata()) == 2]
    means = [line.get_xdata()[0] for line in lines if line.get_marker() == "|"]
    assert ranges == [(300, 304), (310, 318)]
    assert means == [302, 314]
