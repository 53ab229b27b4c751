"""Distributions drawn: what the axes show is what the values are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from itm_book.chapters.similarity_distributions import figures
from itm_book.figures import distributions


def test_curves_of_shares_end_at_one_and_wrong_ones_are_dashed() -> None:
    panel = {"pass 1": np.array([1.0, np.nan, 3]), "wrong image": np.array([2.0, 2])}
    figure = distributions.shares({"a": panel, "b": panel, "c": {"pass 1": np.array([np.nan])}})
    first = {line.get_label(): line for line in figure.axes[0].lines}
    assert first["pass 1"].get_xydata()[:, 1].max() == 1
    assert set(first["pass 1"].get_xdata()) == {1, 3}  # the unknown value is left out
    assert (first["pass 1"].get_linestyle(), first["wrong image"].get_linestyle()) == ("-", "--")
    assert [text.get_text() for text in figure.legends[0].texts] == ["pass 1", "wrong image"]
    assert not figure.axes[3].axison  # the place that no panel needs


def test_a_ridge_stands_on_its_row_with_its_median() -> None:
    rows = {"one": {"x": np.array([1.0, 2, 3, np.nan])}, "two": {"x": np.array([5.0, 5, 5])}}
    figure = distributions.ridges(rows, title="t", unit="u", colours={"x": "#0b7a53"}, mark=2)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    medians = [line.get_xdata()[0] for line in axes.lines if line.get_linewidth() == 2.2]
    assert medians == [2, 5]
    fills = [c.get_facecolor()[0][:3] for c in axes.collections]
    assert any(same_color(colour, distributions.LEFT) for colour in fills)  # below the mark


def test_doubling_puts_powers_of_two_at_equal_steps() -> None:
    rows = {"one": {"x": np.array([0.5, 1, 2, 4])}}
    figure = distributions.ridges(
        rows, title="t", unit="u", colours={"x": "k"}, mark=1, doubling=True
    )
    axes = figure.axes[0]
    medians = [line.get_xdata()[0] for line in axes.lines if line.get_linewidth() == 2.2]
    assert medians == [0.5]  # half way between one and two
    assert axes.xaxis.get_major_formatter()(-1, 0) == "0.5"


def test_bins_hold_as_many_values_each() -> None:
    x = np.arange(40.0)
    figure = distributions.binned({"y": (x, 2 * x)}, x="x", y="y", title="t", bins=4)
    (points,) = figure.axes[0].containers
    np.testing.assert_allclose(
        np.array(points.lines[0].get_xdata(), float), [4.5, 14.5, 24.5, 34.5]
    )
    np.testing.assert_allclose(np.array(points.lines[0].get_ydata(), float), [9, 29, 49, 69])


def test_bars_are_intervals_of_a_mean_by_students_t() -> None:
    """Three values 1, 2, 3: t(2) is 4.303, the standard error 1 / sqrt(3)."""
    x, y = np.arange(6.0), np.array([1.0, 2, 3, 5, 5, 5])
    figure = distributions.binned({"y": (x, y)}, x="x", y="y", title="t", bins=2)
    (points,) = figure.axes[0].containers
    (bars,) = points.lines[2]
    low, high = bars.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((2 - 4.303 / np.sqrt(3), 2 + 4.303 / np.sqrt(3)), abs=1e-3)
    np.testing.assert_array_equal(bars.get_segments()[1][:, 1], [5, 5])


def test_stacked_bars_are_as_wide_as_their_shares() -> None:
    table = pd.DataFrame({"a": [20.0, 0], "b": [80.0, 100]}, index=["one", "two"])
    figure = figures.stacked(table, title="t", unit="u")
    widths = [[bar.get_width() for bar in bars] for bars in figure.axes[0].containers]
    assert widths == [[20, 0], [80, 100]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["20", "80", "100"]


def test_agreement_shows_the_lower_half() -> None:
    kappa = pd.DataFrame([[1, 0.5, 0.1], [0.5, 1, 0.3], [0.1, 0.3, 1]], list("abc"), list("abc"))
    figure = figures.agreement(kappa, title="t")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.50", "0.10", "0.30"]


def test_the_thick_line_is_the_mean_of_the_methods() -> None:
    table = pd.DataFrame({"scan-t2i": [10.0, 30], "saf": [20.0, 50]}, index=[1, 2])
    figure = figures.rates({"objects": table}, title="t")
    thick = next(line for line in figure.axes[0].lines if line.get_label() == "mean")
    np.testing.assert_array_equal(thick.get_ydata(), [15, 40])


def test_together_and_ensembles_draw_every_row() -> None:
    table = pd.DataFrame({"found": [50.0, 0, 50], "independent": [25.0, 50, 25]})
    figure = figures.together({"text to image": table})
    assert [bar.get_height() for bar in figure.axes[0].containers[0]] == [50, 0, 50]
    pairs = pd.DataFrame(
        {"kappa": [0.1, 0.4], "gain": [5.0, -1], "low": [1.0, -3], "high": [9.0, 1]}
    ).assign(better=[100.0, 110])
    dots = figures.ensembles(pairs.assign(average=pairs["better"] + pairs["gain"]))
    offsets = dots.axes[0].collections[-1].get_offsets()
    np.testing.assert_allclose(offsets, [[0.1, 5], [0.4, -1]])
    assert pytest.approx(dots.axes[0].collections[-1].get_array()) == [100, 110]
