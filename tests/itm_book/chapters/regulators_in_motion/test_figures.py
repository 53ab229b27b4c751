"""Figures of the page: cumulative distributions and binned means."""

from __future__ import annotations

import numpy as np
import pytest

from itm_book.chapters.regulators_in_motion import figures


def test_cumulative_curves_end_at_one_and_hard_negatives_are_dashed() -> None:
    panel = {"pass 1": np.array([1.0, np.nan, 3]), "hard negative": np.array([2.0, 2])}
    figure = figures.ecdf_panels({"a": panel, "b": panel, "c": {"pass 1": np.array([np.nan])}})
    first, negative = (
        line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"
    )
    assert first.get_xydata()[:, 1].max() == negative.get_xydata()[:, 1].max() == 1
    assert set(first.get_xdata()) == {1, 3}  # the unknown value is left out
    assert (first.get_linestyle(), negative.get_linestyle()) == ("-", "--")
    assert [text.get_text() for text in figure.legends[0].texts] == ["pass 1", "hard negative"]
    assert not figure.axes[3].axison  # the place that no panel needs


def test_marks_of_equal_medians_are_all_visible() -> None:
    same = np.array([1.0, 2, 3])
    figure = figures.ecdf_panels({"a": {"pass 1": same, "pass 2": same, "hard negative": same}})
    marks = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [0.5]]
    assert len({line.get_marker() for line in marks}) == 3
    assert {line.get_markerfacecolor() for line in marks} == {"none"}


def test_bins_hold_as_many_values_each() -> None:
    x = np.arange(40.0)
    figure = figures.binned_means({"y": (x, 2 * x)}, x="x", y="y", title="t", bins=4)
    (points,) = figure.axes[0].containers
    np.testing.assert_allclose(
        np.array(points.lines[0].get_xdata(), float), [4.5, 14.5, 24.5, 34.5]
    )
    np.testing.assert_allclose(np.array(points.lines[0].get_ydata(), float), [9, 29, 49, 69])


def test_bars_are_intervals_of_a_mean_by_students_t() -> None:
    """Three values 1, 2, 3: t(2) is 4.303, the standard error 1 / sqrt(3)."""
    x, y = np.arange(6.0), np.array([1.0, 2, 3, 5, 5, 5])
    figure = figures.binned_means({"y": (x, y)}, x="x", y="y", title="t", bins=2)
    (points,) = figure.axes[0].containers
    (bars,) = points.lines[2]
    low, high = bars.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((2 - 4.303 / np.sqrt(3), 2 + 4.303 / np.sqrt(3)), abs=1e-3)
    np.testing.assert_array_equal(bars.get_segments()[1][:, 1], [5, 5])
