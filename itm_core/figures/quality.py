"""How attention quality depends on where the line is drawn."""

from __future__ import annotations

from collections.abc import Mapping

import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from itm_core.attention_quality import MULTIPLES, Quality
from itm_core.figures.style import FAINT, finished, styled

TITLES = ("precision", "recall", "F1")


def threshold_curves(qualities: Mapping[str, Quality]) -> Figure:
    """Return precision, recall and F1 over the threshold, one line for each named method.

    The threshold is a multiple of the mean weight; at one, the main number is read off.
    """
    with styled():
        figure, panels = plt.subplots(1, 3, figsize=(8.2, 3.0), sharey=True)
        colours = sns.color_palette("colorblind", len(qualities))
        for colour, (name, quality) in zip(colours, qualities.items(), strict=True):
            for axes, values in zip(panels, quality.curve.T, strict=True):
                axes.plot(MULTIPLES, values, color=colour, label=name)
        for axes, title in zip(panels, TITLES, strict=True):
            axes.axvline(1, color=FAINT, lw=0.8, ls=":")
            axes.set(xscale="log", title=title, xlabel="threshold / mean weight")
            axes.set_xticks([0.25, 1, 4, 16], ["1/4", "1", "4", "16"])
            axes.minorticks_off()
        panels[0].set(ylabel="share, mean over queries", ylim=(0, 1))
        panels[2].legend(fontsize=7)
        return finished(figure)
