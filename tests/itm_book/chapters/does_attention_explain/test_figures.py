"""Figures of attributions: every method and every order is drawn."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt

from itm_book.chapters.does_attention_explain import figures
from itm_book.chapters.does_attention_explain.agreement import ORDERS
from itm_book.chapters.does_attention_explain.tables import agreements
from tests.itm_book.chapters.does_attention_explain.test_tables import against, made

FOUND = {"A": made(0), "B": against(made(1)), "C": made(2), "D": made(3), "E": made(4)}


def test_every_method_has_a_dot_for_each_attribution() -> None:
    table = agreements(FOUND)
    axes = figures.agreement(table).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(FOUND)
    dots = {line.get_label(): line.get_xdata() for line in axes.lines}
    for what in figures.SERIES:
        np.testing.assert_allclose(dots[what], table[table["what"] == what]["value"])
    assert len(axes.collections) == len(figures.SERIES)


def test_every_method_has_a_panel_with_every_order() -> None:
    figure = figures.deletion(FOUND)
    drawn = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in drawn] == list(FOUND)
    lines = {line.get_label(): line for line in drawn[0].lines}
    assert set(ORDERS) <= set(lines)
    np.testing.assert_allclose(lines[ORDERS[0]].get_ydata(), [1, -0.5, -1])
    assert not plt.get_fignums()
