"""How attention quality depends on where the line is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from itm_core.attention_quality import MULTIPLES, Quality
from itm_core.figures.style import FAINT, STROKES, colour_of, finished, styled

TITLES = ("precision", "recall", "F1")
COLUMNS = 4  # of the legend


def threshold_curves(qualities: Mapping[str, Quality]) -> Figure:
    """Return precision, recall and F1 over the threshold, one line for each named method.

    The threshold is a multiple of the mean weight; at one, the main number is read off.
    """
    with styled():
        rows = math.ceil(len(qualities) / COLUMNS)
        figure, panels = plt.subplots(1, 3, figsize=(8.2, 2.9 + 0.16 * rows), sharey=True)
        seen: list[str] = []
        for place, (name, quality) in enumerate(qualities.items()):
            colour = colour_of(name, place)
            look: dict[str, Any] = {"color": colour, "ls": STROKES[seen.count(colour) % 4]}
            seen.append(colour)
            for axes, values in zip(panels, quality.curve.T, strict=True):
                axes.plot(MULTIPLES, values, label=name, **look)
        for axes, title in zip(panels, TITLES, strict=True):
            axes.axvline(1, color=FAINT, lw=0.8, ls=":")
            axes.set(xscale="log", title=title, xlabel="threshold / mean weight")
            axes.set_xticks([0.25, 1, 4, 16], ["1/4", "1", "4", "16"])
            axes.minorticks_off()
        panels[0].set(ylabel="share, mean over queries", ylim=(0, 1))
        # below the panels: in one of them it would cover curves
        lines, names = panels[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=COLUMNS, fontsize=7)
        return finished(figure)
