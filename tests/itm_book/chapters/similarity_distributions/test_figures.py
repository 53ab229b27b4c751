"""Figures of the page: every value of the tables is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from itm_book.chapters.similarity_distributions import figures


def test_stacked_bars_are_as_wide_as_their_percentages() -> None:
    table = pd.DataFrame({"a": [20.0, 0], "b": [80.0, 100]}, index=["one", "two"])
    figure = figures.stacked_bars(table, title="t")
    widths = [[bar.get_width() for bar in bars] for bars in figure.axes[0].containers]
    assert widths == [[20, 0], [80, 100]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["20", "80", "100"]


def test_kappa_heatmap_shows_the_lower_half() -> None:
    kappa = pd.DataFrame([[1, 0.5, 0.1], [0.5, 1, 0.3], [0.1, 0.3, 1]], list("abc"), list("abc"))
    figure = figures.kappa_heatmap(kappa, title="t")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.50", "0.10", "0.30"]


def test_the_thick_line_is_the_mean_of_the_methods() -> None:
    table = pd.DataFrame({"scan-t2i": [10.0, 30], "saf": [20.0, 50]}, index=[1, 2])
    figure = figures.error_rate_curves({"objects": table}, title="t")
    thick = next(line for line in figure.axes[0].lines if line.get_label() == "mean")
    np.testing.assert_array_equal(thick.get_ydata(), [15, 40])


def test_failure_counts_and_ensembles_draw_every_row() -> None:
    table = pd.DataFrame({"observed": [50.0, 0, 50], "independent": [25.0, 50, 25]})
    figure = figures.failure_counts({"text to image": table})
    assert [bar.get_height() for bar in figure.axes[0].containers[0]] == [50, 0, 50]
    pairs = pd.DataFrame(
        {"kappa": [0.1, 0.4], "gain": [5.0, -1], "low": [1.0, -3], "high": [9.0, 1]}
    ).assign(better=[100.0, 110])
    dots = figures.ensemble_scatter(pairs.assign(average=pairs["better"] + pairs["gain"]))
    offsets = dots.axes[0].collections[-1].get_offsets()
    np.testing.assert_allclose(offsets, [[0.1, 5], [0.4, -1]])
    assert pytest.approx(dots.axes[0].collections[-1].get_array()) == [100, 110]
