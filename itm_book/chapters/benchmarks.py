"""What scoring costs: methods beside twin, bare product and floor; time and memory as it grows."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from itm_book.bench.growth import exponent
from itm_book.figures.style import FAINT, INK, RIGHT, colour_of, finished, styled

LOOKS = (
    ("reference", "loop over captions (twin)", FAINT, "o"),
    ("ours", "ours", INK, "D"),
    ("floor", "floor: the products alone", RIGHT, "|"),
    ("bare", "one product of all words with all regions", RIGHT, "."),
)


def races(rows: pd.DataFrame) -> Figure:
    """Return the seconds of each method, of its twin, its floor and the bare product.

    ``rows`` are those of `bench.record.scoring_rows`, of one machine, size and precision.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.5 + 0.42 * len(rows)))
        places = range(len(rows))
        axes.hlines(places, rows["bare"], rows["reference"], color=FAINT, lw=0.8, alpha=0.6)
        for column, label, colour, mark in LOOKS:
            size = 14 if mark == "|" else 7
            axes.plot(rows[column], places, mark, color=colour, label=label, ms=size, mew=2)
        axes.set_yticks(places, rows["method"])
        axes.invert_yaxis()
        axes.set(xscale="log", xlabel="seconds (median), left is better")
        axes.grid(axis="x", color=FAINT, alpha=0.2)
        axes.margins(y=0.1)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return finished(figure)


def growth(rows: pd.DataFrame) -> Figure:
    """Return time and memory against the images of the gallery, a line for each method.

    ``rows`` are those of `bench.record.growth_rows`, of one machine.
    """
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.2))
        for place, (name, own) in enumerate(rows.groupby("method", sort=False)):
            look = {"color": colour_of(str(name), place), "marker": "o", "ms": 4}
            power = exponent(own["images"].tolist(), own["seconds"].tolist())
            left.plot(own["images"], own["seconds"], label=f"{name}: power {power:.2f}", **look)
            right.plot(own["images"], own["peak"] / 1024, label=str(name), **look)
        left.set(yscale="log", ylabel="seconds", title="time")
        right.set(ylabel="GiB at most", title="memory", ylim=(0, None))
        for axes in (left, right):
            axes.set(xscale="log", xlabel="images in the gallery")
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.set_xticks(sorted(set(rows["images"])))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.tick_params(axis="x", labelrotation=30)
        left.legend(fontsize=8)
        return finished(figure)
