"""Heat maps and bars of the tensors of a method.

Page: "SCAN"; "Figure gallery".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from itm_book.figures.style import WEIGHTS, finished, styled


def steps(
    matrices: Sequence[tuple[str, np.ndarray]], words: Sequence[str], *, diverging: bool = False
) -> Figure:
    """Return labelled heat maps ``[L, R]`` (words by regions), one per step.

    Args:
        matrices: title and values of each step.
        words: the L words of the rows.
        diverging: use colours centred at zero, for values of both signs.
    """
    with styled():
        figure, grid = plt.subplots(
            len(matrices),
            1,
            squeeze=False,
            sharex=True,
            figsize=(8.2, len(matrices) * (0.75 + 0.2 * len(words))),
        )
        for axes, (title, values) in zip(grid[:, 0], matrices, strict=True):
            reach = float(np.abs(values).max()) or 1.0
            low, colours = (-reach, "RdBu_r") if diverging else (0.0, WEIGHTS)
            image = axes.imshow(values, aspect="auto", cmap=colours, vmin=low, vmax=reach)
            axes.set_yticks(range(len(words)), words, fontsize=8.5)
            axes.set_title(title, fontsize=10, loc="left")
            figure.colorbar(image, ax=axes, pad=0.01)
        grid[-1, 0].set_xlabel("region")
        return finished(figure)


def bars(names: Sequence[str], values: np.ndarray, *, title: str, unit: str) -> Figure:
    """Return a bar chart, one bar per name."""
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 2.4))
        axes.bar(range(len(names)), values, color="#0072b2")
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.axhline(0, color="#8a9199", lw=0.8)
        axes.set(title=title, ylabel=unit)
        return finished(figure)
