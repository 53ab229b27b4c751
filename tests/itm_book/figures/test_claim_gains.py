"""The chart of all claims: where its dots are, and how a sure gain looks."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgba

from itm_book.figures import claim_gains
from itm_book.figures.style import CARD
from itm_book.tables.labels import GAIN, LOSS, NO_EFFECT, UNTESTABLE

LONG = "a claim that is so long that one line beside the chart cannot hold it"
ROWS = pd.DataFrame(
    [
        ("RCAR", "first", "Scenes", "rSum", 40.0, LOSS),
        ("RCAR", "first", "photographs", "rSum", -4.0, GAIN),
        ("RCAR", "first", "photographs", "rSum", 2.0, UNTESTABLE),
        ("CHAN", LONG, "photographs", "rSum", 3.0, NO_EFFECT),
        ("CHAN", "of attention", "Scenes", "points", 0.5, NO_EFFECT),
    ],
    columns=["paper", "claim", "dataset", "unit", "gain", "effect"],
)


def dots(axes: Axes) -> list[tuple[float, float, object]]:
    """Gain, line of the claim and filling of every dot of a panel."""
    return [
        (float(dot.get_xdata()[0]), float(dot.get_ydata()[0]), dot.get_markerfacecolor())
        for dot in axes.lines
        if dot.get_marker() == "o"
    ]


def test_a_panel_for_each_unit_and_dataset_has_the_gains_of_its_claims() -> None:
    panels = claim_gains.dots(ROWS).axes
    assert [axes.get_title() for axes in panels[:2]] == ["on Scenes", "on photographs"]
    assert [axes.get_xlabel() for axes in panels] == ["gain in rSum"] * 2 + ["gain in points"] * 2
    places = [[dot[:2] for dot in dots(axes)] for axes in panels]
    assert places == [[(40, 0)], [(-4, 0), (2, 0), (3, 1)], [(0.5, 0)], []]
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    assert names[0] == "first"
    assert names[1].replace("\n", " ") == LONG
    assert max(map(len, names[1].splitlines())) <= claim_gains.WIDTH


def test_every_panel_has_zero_in_its_middle_and_all_its_dots() -> None:
    for axes in claim_gains.dots(ROWS).axes:
        low, high = axes.get_xlim()
        assert low == -high
        assert all(low < gain < high for gain, _, _ in dots(axes))
    across, up = (axes.get_xlim() for axes in claim_gains.dots(ROWS).axes[:2])
    assert across != up  # the gains on one dataset do not squeeze those on the other


def test_significant_dots_are_filled_others_pale_and_untested_ones_hollow() -> None:
    _, axes, *_ = claim_gains.dots(ROWS).axes
    significant, untested, pale = (filling for _, _, filling in dots(axes))
    assert to_rgba(significant)[3] == 1
    assert 0 < to_rgba(pale)[3] < 1
    assert same_color(untested, CARD)
