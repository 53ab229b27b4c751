"""The figure of "Why is my number lower?": all causes at once.

Page: "Why is my number lower?".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.figures.gains import OPACITY, STRONG
from itm_book.figures.style import FAINT, INK, finished, styled

LOWER, HIGHER = "#d55e00", "#0072b2"
REACH = 60.0  # in rSum; longer bars are cut and carry their number


def overview(table: pd.DataFrame, *, reach: float = REACH) -> Figure:
    """Return a bar and its 95 % interval for every row of `tables.summary`.

    Pale bars are not significant; bars longer than ``reach`` are cut there.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.2 + 0.3 * len(table)))
        for place, row in enumerate(table.to_dict("records")):
            value = float(row["gain"])
            shown, low, high = np.clip([value, row["low"], row["high"]], -reach, reach)
            colour = LOWER if value < 0 else HIGHER
            axes.barh(place, shown, 0.6, color=colour, alpha=OPACITY[row["effect"]])
            if abs(value) <= reach:
                axes.plot([low, high], [place, place], color=INK, lw=2)
                axes.plot(value, place, "o", color=INK, ms=3)
            else:
                _number_inside(axes, shown, place, value, strong=OPACITY[row["effect"]] == STRONG)
        names = [_label(str(group), str(name)) for group, name in table[["group", "name"]].values]
        axes.set_yticks(range(len(table)), names, fontsize=9)
        axes.invert_yaxis()
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_xlim(-1.05 * reach, 1.05 * reach if (table["high"] > 0.5 * reach).any() else None)
        axes.grid(axis="x", color=FAINT, alpha=0.25)
        note = "line: 95 % interval over test images; pale: not significant; cut bars are numbered"
        axes.set(xlabel=f"difference in rSum: what you have minus what you hoped for\n{note}")
        return finished(figure)


def _number_inside(axes: Axes, end: float, place: int, value: float, *, strong: bool) -> None:
    """Write the value into the end of a bar that was cut."""
    side = "left" if value < 0 else "right"
    text = f" {value:+.0f} ".replace("-", "\N{MINUS SIGN}")
    axes.text(
        end, place, text, ha=side, va="center", color="white" if strong else INK, fontsize=8.5
    )


def _label(group: str, name: str) -> str:
    """Return ``cause: name``, or the name alone where it contains the cause."""
    return name if group.split()[0] in name else f"{group}: {name}"
