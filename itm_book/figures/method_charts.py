"""Charts of methods: learning curves, and results with intervals.

Page: every chapter with a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from itm_book.figures.style import (
    FAINT,
    INK,
    STROKES,
    colour_of,
    colour_of_row,
    finished,
    styled,
)


def learning_curve(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Return loss and development rSum against epochs, one line per named curve.

    The columns of a curve are those of `runs.Run.curve`.
    """
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.0))
        used: list[str] = []
        for place, (name, curve) in enumerate(curves.items()):
            colour = colour_of(name, place)
            # a host and its plug-ins share a colour and differ in line style
            line: dict[str, Any] = {"ls": STROKES[used.count(colour) % len(STROKES)]}
            used.append(colour)
            line |= {"marker": "o", "ms": 3.5, "color": colour}
            left.plot(curve["epoch"], curve["loss"], **line)
            right.plot(curve["epoch"], curve["rsum"], **line, label=name)
        left.set(xlabel="epoch", ylabel="loss (sum over a batch)", title="training", yscale="log")
        right.set(xlabel="epoch", ylabel="rSum (percent, six recalls)", title="development")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_ylim(bottom=None if axes is left else 0)
        right.legend(fontsize=8.5)
        return finished(figure)


def intervals(
    table: pd.DataFrame, *, title: str, unit: str, line: tuple[str, float] | None = None
) -> Figure:
    """Return a dot, a 95 % interval and the SD over seeds for every row of a table.

    Columns: ``name``, ``value``, ``low``, ``high``, ``spread`` (standard deviation, drawn as a
    thin line to both sides), and ``group`` for the colour. ``line`` is the name and value of a
    reference line.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 0.9 + 0.32 * len(table)))
        groups = list(dict.fromkeys(table["group"]))
        for place, row in enumerate(table.to_dict("records")):
            colour = colour_of_row(row, groups)
            ends = [row["value"] - row["spread"], row["value"] + row["spread"]]
            axes.plot(ends, [place, place], color=INK, lw=0.8)
            axes.plot([row["low"], row["high"]], [place, place], color=colour, lw=4, alpha=0.5)
            axes.plot(row["value"], place, "o", color=colour, ms=6)
        if line:
            axes.axvline(line[1], color=INK, lw=1, ls="--")
            axes.annotate(
                line[0], (line[1], len(table)), xytext=(-5, 0), textcoords="offset points",
                ha="right", va="center", fontsize=8.5,
            )  # fmt: skip
        axes.set_yticks(range(len(table)), table["name"])
        axes.set_ylim(len(table) - (0.4 if line is None else -0.4), -0.6)
        axes.grid(axis="x", color=FAINT, alpha=0.25)
        note = "thick: 95 % interval over test images; thin: SD over seeds"
        axes.set(xlabel=f"{unit}\n{note}", title=title)
        return finished(figure)
