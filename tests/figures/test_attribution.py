"""Figures of attributions: every method and every order is drawn."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt

from itm_core.figures import attribution
from itm_core.studies.attribution_agreement import ORDERS
from itm_core.tables.attribution_tables import agreements
from tests.tables.test_attribution_tables import against, made

FOUND = {"A": made(0), "B": against(made(1)), "C": made(2), "D": made(3), "E": made(4)}


def test_every_method_has_a_dot_for_each_attribution() -> None:
    table = agreements(FOUND)
    axes = attribution.agreement(table).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(FOUND)
    dots = {line.get_label(): line.get_xdata() for line in axes.lines}
    for what in attribution.SERIES:
        np.testing.assert_allclose(dots[what], table[table["what"] == what]["value"])
    assert len(axes.collections) == len(attribution.SERIES)


def test_every_method_has_a_panel_with_every_order() -> None:
    figure = attribution.deletion(FOUND)
    drawn = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in drawn] == list(FOUND)
    lines = {line.get_label(): line for line in drawn[0].lines}
    assert set(ORDERS) <= set(lines)
    np.testing.assert_allclose(lines[ORDERS[0]].get_ydata(), [1, -0.5, -1])
    assert not plt.get_fignums()
