"""Two measures against each other: every dot, its intervals, and names that do not overlap."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_book.figures import orderings


def test_every_method_has_a_dot_with_both_intervals_and_its_name() -> None:
    pairs = pd.DataFrame(
        {
            "name": ["SCAN t2i", "CHAN", "other"],
            "group": ["hosts", "CHAN", "else"],
            **{"x": [1.0, 2, 3], "x_low": [0, 1, 2], "x_high": [2, 3, 4]},
            **{"y": [5.0, 5, 4], "y_low": [3, 4, 3], "y_high": [7, 6, 5]},
        }
    )
    figure = orderings.scatter(pairs, title="t", across="a", up="u")
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert sorted((d.get_xdata()[0], d.get_ydata()[0]) for d in dots) == [(1, 5), (2, 5), (3, 4)]
    lines = [sorted(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 2]
    assert [3, 7] in lines
    heights = [text.xyann[1] for text in axes.texts]
    assert len(heights) == 3
    assert min(np.diff(heights)) >= orderings.APART - 1e-9


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_names_keep_their_distance_and_their_order(wanted: list[float]) -> None:
    found = orderings._spaced(np.sort(wanted))
    step = min(orderings.APART, 1 / max(len(wanted) - 1, 1))
    assert (np.diff(found) >= step - 1e-9).all()
    assert found[0] >= -1e-9
    assert found[-1] <= 1 + 1e-9


def test_names_with_room_stay_where_their_dot_is() -> None:
    assert orderings._spaced(np.array([0.1, 0.5, 0.9])) == pytest.approx([0.1, 0.5, 0.9])
