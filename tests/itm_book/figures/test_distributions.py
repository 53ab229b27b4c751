"""Ridge plots: the axes show the values."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import same_color

from itm_book.figures import distributions


def test_a_ridge_stands_on_its_row_with_its_median() -> None:
    rows = {"one": {"x": np.array([1.0, 2, 3, np.nan])}, "two": {"x": np.array([5.0, 5, 5])}}
    figure = distributions.ridges(rows, title="t", unit="u", colours={"x": "#0b7a53"}, mark=2)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    medians = [line.get_xdata()[0] for line in axes.lines if line.get_linewidth() == 2.2]
    assert medians == [2, 5]
    fills = [c.get_facecolor()[0][:3] for c in axes.collections]
    assert any(same_color(colour, distributions.BELOW) for colour in fills)  # below the mark


def test_log2_puts_powers_of_two_at_equal_steps() -> None:
    rows = {"one": {"x": np.array([0.5, 1, 2, 4])}}
    figure = distributions.ridges(rows, title="t", unit="u", colours={"x": "k"}, mark=1, log2=True)
    axes = figure.axes[0]
    medians = [line.get_xdata()[0] for line in axes.lines if line.get_linewidth() == 2.2]
    assert medians == [0.5]  # half way between one and two
    assert axes.xaxis.get_major_formatter()(-1, 0) == "0.5"
