"""Figures of gains and costs: every row is drawn, and sure gains look different."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from itm_book.figures import gains
from itm_book.tables.labels import EFFECTS, GAIN, LOSS

ROWS = pd.DataFrame(
    {
        "name": ["SCAN t2i + RCR", "SCAN t2i + RAR"],
        "host": "SCAN t2i",
        "group": "SCAN t2i",
        "gain": [12.0, -3.0],
        "low": [6.0, -9.0],
        "high": [18.0, 3.0],
        "spread": [2.0, np.nan],
        "seeds_low": [7.0, np.nan],
        "seeds_high": [17.0, np.nan],
        "effect": ["gain", "not significant"],
    }
)


def test_gains_that_are_not_significant_are_pale() -> None:
    axes = gains.gains(ROWS, title="t").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [12.0, -3.0]
    assert axes.patches[0].get_alpha() == 1
    assert axes.patches[1].get_alpha() < 1
    assert [t.get_text() for t in axes.get_yticklabels()] == ROWS["name"].tolist()


@pytest.mark.parametrize(
    ("names", "named_hosts"), [(["hard", "hard", "max"], False), (["hard", "sum", "max"], True)]
)
def test_every_label_names_its_host_if_asked_or_if_a_name_occurs_twice(
    names: list[str], named_hosts: bool
) -> None:
    hosts = ["soft", "mean", "mean"]
    table = pd.concat([ROWS, ROWS[:1]], ignore_index=True).assign(name=names, host=hosts)
    axes = gains.gains(table, title="t", named_hosts=named_hosts).axes[0]
    wanted = [f"{name}\nover {host}" for name, host in zip(names, hosts, strict=True)]
    assert [label.get_text() for label in axes.get_yticklabels()] == wanted


def arrowheads(axes: Axes) -> list[tuple[float, float, str]]:
    """Return place and direction of the arrowheads of a chart."""
    return [
        (line.get_xdata()[0], line.get_ydata()[0], line.get_marker())
        for line in axes.lines
        if line.get_marker() in ("<", ">")
    ]


def test_both_intervals_are_drawn_and_a_cut_one_has_arrowheads() -> None:
    wide = ROWS.assign(seeds_low=[7.0, -900.0], seeds_high=[17.0, 890.0])
    axes = gains.gains(wide, title="t").axes[0]
    lines = [tuple(line.get_xdata()) for line in axes.lines]
    assert lines[:4] == [(6.0, 18.0), (7.0, 17.0), (-9.0, 3.0), (-900.0, 890.0)]
    low, high = -9 - 0.25 * 27, 18 + 0.25 * 27
    assert axes.get_xlim() == (low, high)
    assert arrowheads(axes) == [(low, 1, "<"), (high, 1, ">")]
    assert axes.get_xlabel().endswith(gains.CONTINUES)


def test_an_interval_inside_the_axes_or_absent_has_no_arrowhead() -> None:
    axes = gains.gains(ROWS, title="t").axes[0]
    assert arrowheads(axes) == []
    assert gains.CONTINUES not in axes.get_xlabel()
    one_end = ROWS.assign(seeds_low=[7.0, np.nan], seeds_high=[99.0, np.nan])
    axes = gains.gains(one_end, title="t").axes[0]
    assert arrowheads(axes) == [(axes.get_xlim()[1], 0, ">")]


@pytest.mark.parametrize("word", EFFECTS)
def test_every_effect_can_be_drawn(word: str) -> None:
    axes = gains.gains(ROWS[:1].assign(effect=word), title="t").axes[0]
    assert (axes.patches[0].get_alpha() == 1) == (word in (GAIN, LOSS))


def test_the_matrix_prints_significant_gains_in_bold_and_leaves_gaps_empty() -> None:
    wide = pd.DataFrame({"RCR": [12.0, np.nan], "RAR": [-3.0, 1.0]}, index=["SCAN", "SAF"])
    sure = pd.DataFrame(
        {"RCR": ["gain", np.nan], "RAR": ["not significant", "loss"]}, index=["SCAN", "SAF"]
    )
    texts = gains.heat(wide, sure, title="t", unit="rSum").axes[0].texts
    found = {text.get_text(): text.get_fontweight() for text in texts}
    assert found == {"+12": "bold", "-3": "normal", "+1": "bold"}


def test_every_row_has_a_named_dot_against_its_cost() -> None:
    table = pd.DataFrame(
        {
            "name": ["a", "b"],
            "group": ["x", "x"],
            "minutes": [0.5, 5.0],
            "rsum": [300.0, 310.0],
            "rsum_low": [290.0, 300.0],
            "rsum_high": [310.0, 320.0],
        }
    )
    axes = gains.cost(table, unit="minutes").axes[0]
    assert {text.get_text() for text in axes.texts} == {"a", "b"}
    assert axes.get_xscale() == "log"


def test_many_dots_have_numbers_and_a_key_from_the_best_down() -> None:
    count = gains.NAMED + 1
    rsum = np.arange(count, dtype=float)
    table = pd.DataFrame(
        {
            "name": [f"method {k}" for k in range(count)],
            "group": "x",
            "minutes": rsum + 1,
            "rsum": rsum,
            "rsum_low": rsum - 1,
            "rsum_high": rsum + 1,
        }
    )
    texts = [text.get_text() for text in gains.cost(table, unit="minutes").axes[0].texts]
    assert texts[:4] == ["1", f"method {count - 1}", "2", f"method {count - 2}"]
    assert [text for text in texts[2 * count :] if text] == [str(k + 1) for k in range(count)]


def test_recall_curves_have_a_line_for_each_method_and_direction() -> None:
    curves = {"SCAN": np.linspace(10, 90, 20).reshape(2, 10), "CHAN": np.ones((2, 10))}
    figure = gains.recalls(curves)
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    same = gains.recalls({"SCAN t2i": curves["SCAN"], "SCAN t2i + CCR": curves["CHAN"]}).axes[0]
    looks = {(line.get_color(), line.get_linestyle()) for line in same.lines}
    assert len(looks) == 2  # methods of one host look different
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), curves["SCAN"][1])
    assert not plt.get_fignums()
