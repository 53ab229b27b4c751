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


def test_a_narrow_log_axis_has_several_ticks_at_round_values() -> None:
    rows = {"one": {"x": np.linspace(0.8, 1.25, 50)}}
    figure = distributions.ridges(rows, title="t", unit="u", colours={"x": "k"}, mark=1, log2=True)
    axis = figure.axes[0].xaxis
    ticks = axis.get_majorticklocs()
    low, high = figure.axes[0].get_xlim()
    assert [axis.get_major_formatter()(tick, 0) for tick in ticks] == [
        "0.8",
        "0.9",
        "1",
        "1.1",
        "1.2",
    ]
    assert all(low <= tick <= high for tick in ticks)


def test_the_axis_covers_a_row_that_is_far_from_many_others() -> None:
    far = np.linspace(90.0, 100, 100)
    rows = {"far": {"x": far}} | {f"near {k}": {"x": np.linspace(0, 1, 20_000)} for k in range(9)}
    low, high = (
        distributions.ridges(rows, title="t", unit="u", colours={"x": "k"}).axes[0].get_xlim()
    )
    assert low < 0
    assert high > 100
