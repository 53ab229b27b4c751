"""Every claim at a glance: the gains of its rows, on each dataset.

Page: "What we found".
"""

from __future__ import annotations

from textwrap import fill

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from itm_book.figures.style import CARD, FAINT, INK, colours_of, finished, styled
from itm_book.tables.labels import GAIN, LOSS, NO_EFFECT, UNTESTABLE

WIDTH = 42  # characters of a line of a claim
FILLED, HOLLOW = 1.0, 0.0
OPACITY = {GAIN: FILLED, LOSS: FILLED, NO_EFFECT: 0.3, UNTESTABLE: HOLLOW}
MEANING = {
    GAIN: "significant gain or loss",
    NO_EFFECT: "not significant",
    UNTESTABLE: "one seed: not tested",
}


def dots(table: pd.DataFrame) -> Figure:
    """Return a panel for each unit and dataset with a dot for every gain, claims below each other.

    The panels of a dataset do not share their scale with those of another one. Claims without a
    gain on a dataset have an empty line there.

    Args:
        table: a row for each gain, with the columns ``paper``, ``claim``, ``dataset``, ``unit``,
            ``gain`` and ``effect`` (one of `labels.EFFECTS`); not empty.
    """
    datasets, papers = list(table["dataset"].unique()), list(table["paper"].unique())
    claims = {
        str(unit): list(rows["claim"].unique()) for unit, rows in table.groupby("unit", sort=False)
    }
    colours = dict(zip(papers, colours_of(papers), strict=True))
    heights = [len(names) + 1 for names in claims.values()]
    with styled():
        figure, grid = plt.subplots(
            len(claims), len(datasets), squeeze=False, sharey="row",
            figsize=(8.2, 1.2 + 0.42 * sum(heights)), height_ratios=heights,
        )  # fmt: skip
        for line, (unit, names) in zip(grid, claims.items(), strict=True):
            for axes, dataset in zip(line, datasets, strict=True):
                of = table[(table["unit"] == unit) & (table["dataset"] == dataset)]
                _panel(axes, of, names, colours)
                axes.set_xlabel(f"gain in {unit}")
            line[0].set_yticks(range(len(names)), [fill(n, WIDTH) for n in names], fontsize=9)
            line[0].set_ylim(len(names) - 0.5, -0.5)
        for axes, dataset in zip(grid[0], datasets, strict=True):
            axes.set_title(f"on {dataset}")
        keys = [
            Line2D(
                [], [], ls="", marker="o", color=INK, markerfacecolor=_face(INK, effect), label=text
            )
            for effect, text in MEANING.items()
        ]
        figure.legend(handles=keys, loc="outside lower right", ncols=len(keys), fontsize=9)
        return finished(figure)


def _panel(axes: Axes, rows: pd.DataFrame, claims: list[str], colours: dict[str, str]) -> None:
    for row in rows.to_dict("records"):
        colour = colours[row["paper"]]
        face = _face(colour, row["effect"])
        place = claims.index(row["claim"])
        axes.plot(row["gain"], place, "o", ms=7, color=colour, markerfacecolor=face)
    axes.axvline(0, color=INK, lw=0.8, zorder=0)
    axes.grid(color=FAINT, alpha=0.2)
    axes.tick_params(axis="y", length=0)
    reach = 1.15 * max(abs(gain) for gain in [*rows["gain"], 1.0])
    axes.set_xlim(-reach, reach)


def _face(colour: str, effect: str) -> tuple[str, float] | str:
    """Return what a dot is filled with; a hollow one hides the line behind it."""
    opacity = OPACITY[effect]
    return (colour, opacity) if opacity else CARD
